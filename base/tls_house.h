#ifndef BASE_TLS_HOUSE_H
#define BASE_TLS_HOUSE_H
#include "base/house.h"
#include "base/keeper.h"
#include "base/tls.h"

/* A server's certificates as the parent gives them: files "tls-cert:0", "tls-cert:1", ... before the process serves, and each again when it changed. */
struct tls_house;

/* Takes the files that are there. *why tells what is wrong with them; then, and without any, tls_house_context is NULL. Needs no settings beyond tls_settings. */
struct tls_house *tls_house_new(struct house *h, struct keeper *k, const char **why);
struct tls_context *tls_house_context(struct tls_house *t);

/* For house_handler's on_file: true if the name is one of a certificate; takes fd then. New connections get the new one; a bad file changes nothing. */
bool tls_house_file(struct tls_house *t, struct slice name, int fd);
#endif
