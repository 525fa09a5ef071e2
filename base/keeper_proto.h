#ifndef BASE_KEEPER_PROTO_H
#define BASE_KEEPER_PROTO_H

/* Questions to the process `keeper`, which alone holds private keys. Payloads are base/field records; each question gets one KEEPER_ANSWER with
 * its id. smtpd and delivery ask through base/keeper.h, nobody builds these by hand.
 *
 * The keeper never signs foreign digests for TLS: it gets the bytes themselves, and only such bytes as a server signs in a handshake (RFC 8446,
 * 4.4.3; RFC 5246, 7.4.3). So nothing that speaks to it can use a TLS key for anything else. DKIM keys sign digests of 32 bytes. */
enum keeper_message {
	KEEPER_SIGN_TLS = 1,  /* KEY: SHA-256 of the public key (SubjectPublicKeyInfo); SCHEME: RFC 8446, 4.2.3; DATA */
	KEEPER_SIGN_DKIM,     /* KEY: name of the key ("SELECTOR._domainkey.DOMAIN"); DATA: digest */
	KEEPER_MAC,           /* KEY: purpose ("srs", "batv"); NUMBER: which key, absent: the newest; SCHEME: 1 or 256 (HMAC-SHA1, -SHA256); DATA */
	KEEPER_ANSWER         /* ERROR (errno; 0 good), DATA: signature or mac, NUMBER: the key that made a mac */
};
enum keeper_tag { KEEPER_TAG_KEY = 1, KEEPER_TAG_SCHEME, KEEPER_TAG_DATA, KEEPER_TAG_NUMBER, KEEPER_TAG_ERROR };
enum { KEEPER_MAX_DATA = 4096, KEEPER_MAX_MACS = 10 };
#endif
