#ifndef QUEUE_QUEUE_INSIDE_H
#define QUEUE_QUEUE_INSIDE_H
#include <stdatomic.h>
#include "base/clock.h"
#include "base/ipc.h"
#include "maps/map.h"
#include "queue/index.h"
#include "queue/job_proto.h"
#include "queue/ledger.h"
#include "queue/queue.h"
#include "queue/queue_proto.h"
#include "queue/report_gate.h"
#include "queue/schedule.h"
#include "queue/spool.h"
#include "queue/taken.h"

/* What the files of the queue process share, and nobody else.
 *
 *	queue.c         the house, what is due, maps
 *	queue_peers.c   peers and their questions
 *	queue_ask.c     what porterctl asks
 *	queue_watch.c   once a second: disk, clock, the gate's memory
 *	hints.c         what askers must know of the ledger
 *	reclaim.c       what the dead had in queue/flight
 *	intake.c        PEN, PUT, COMMIT, ABORT: transactions of peers
 *	intake_admit.c  what may come in
 *	intake_put.c    a PUT on its way to disk
 *	taken.c         what the schedule must know of a message
 *	anew.c          a message that an act has changed is read again
 *	scan.c          what lies in the spool at start
 *	rolls.c         the rolls by which the next start reads less
 *	survey.c        all messages, for porterctl
 *	attempt.c       an item is due: read, resolve, hand out; what came back
 *	lookout.c       who waits too long and isn't tried is looked at, and told of
 *	settle.c        what came of an attempt is written down
 *	settling.c      a message of which none is out: reports that are due, its end
 *	told.c          reports on what was delivered at once; automatic replies
 *	dead_letter.c   what nobody may be told
 *	dead_act.c      what the postmaster does about it
 *	post.c          messages of our own, and those of the drop folder
 *	drop_in.c       the drop folder
 *	paused.c        which destinations are paused */

struct peer {
	struct peer *next;
	struct queue *queue;
	struct ipc *ipc;                 /* NULL: gone; lives until its last question is answered */
	enum { PEER_ASKER, PEER_DELIVERY, PEER_MAILBOX, PEER_PAGE } kind;
	struct index transactions;       /* intake.c */
	uint32_t owner;                  /* of slots in queue/flight; 0: not said */
	size_t pending;                  /* notes of the ledger that it has not cleared */
	uint8_t *pending_bits;           /* their hints; NULL: there were none yet */
	size_t open;                     /* questions under way */
};

struct queue_counts {
	uint64_t taken, done, failed, later, reports, dead, damaged, dropped_in, refused;
};

struct queue {
	struct loop *loop;
	struct queue_setup setup;
	struct slice host;
	char *host_text, *postmaster_text, *maps_directory;
	struct spool *spool;
	struct schedule *schedule;
	struct report_gate *gate;
	struct buf gate_record;          /* being written, while gate_busy */
	struct ledger *ledger;
	struct map_set *maps;            /* NULL: none */
	struct worker *files;            /* reads for attempts, settling, dead letters */
	struct worker *scanner;
	struct hash_key key;
	struct peer *peers;
	struct index attempts;           /* by job id */
	uint64_t last_job;
	struct loop_timer *timer, *second;
	struct queue_state state, told_state, looked;
	uint64_t seconds;
	bool marking;                    /* the clock, by who looks at the disk */
	struct vacations *vacations;
	struct feedback_reports *feedback; /* DMARC's; NULL before the first */
	struct drops *drops;             /* drop_in.c */
	struct pauses *pauses;           /* paused.c */
	struct ledger_hints hints;
	uint64_t waiting_bytes;          /* inline content in memory */
	int64_t digest_day, letters_day;
	uint64_t digest_withheld;            /* what the last daily digest, or the start, had behind it */
	int64_t held_told_s;             /* when the postmaster was told last of what a filter held back */
	struct attacks *attacks;     /* NULL: none are counted */
	unsigned letters;            /* to postmasters, on letters_day */
	struct scan *scan;               /* NULL: over */
	atomic_bool scan_ends;           /* the process does: its workers need not read on */
	struct rolls *rolls;
	struct schedule_cursor lookout;
	size_t acts;                     /* the postmaster's, being written: what the schedule knows and what the files say differ */
	struct clock_watch clock;        /* while it is doubted nothing expires */
	size_t under_way;                /* attempts, settlings, removals: what a drain waits for */
	struct queue_counts counts;
	bool unclaimed;                  /* slots in queue/flight may be of askers that are dead */
	bool draining, stopping, dispatching, gate_dirty, gate_busy, looking;
};

/* queue.c */
void queue_alert(struct queue *q, const char *format, ...) __attribute__((format(printf, 2, 3)));
void queue_answer(struct queue *q, uint64_t question, int code, struct slice text); /* to a question that was left open */
void queue_set_aside(struct queue *q, const char *id, const char *why); /* a damaged message: out of the queue, and told; why stands for ever */
void queue_wake(struct queue *q);                         /* something may be due */
void queue_begin(struct queue *q);                        /* one more thing under way */
void queue_end(struct queue *q);
void queue_look_idle(struct queue *q);                    /* somebody may wait for the end */
int64_t queue_expiry(int64_t from_s);
void queue_find_postmaster(struct queue *q);

/* queue_peers.c */
struct ipc *queue_channel(struct queue *q, bool mailbox, struct slice place);
void queue_peer_free(struct peer *p);                     /* with its channel */
void queue_tell_vacations(struct queue *q);
void peer_release(struct peer *p);                        /* one thing less that is open of it; the last one frees it, if its channel is gone */
void peer_send(struct peer *p, uint16_t type, uint64_t id, struct buf *record, int fd); /* frees record */
void peer_send_status(struct peer *p, uint16_t type, uint64_t id, struct mail_status s);

/* hints.c: what askers must know of the ledger */
int hints_noted(struct peer *p, struct slice payload, enum ledger_note_kind *kind); /* before it is passed on; -EPROTO */
void hints_cleared(struct peer *p);
void hints_peer_gone(struct peer *p);
void hints_tell(struct queue *q);                         /* if they have changed */
void hints_spread(struct queue *q, uint32_t bit);         /* one more, for all */

/* reclaim.c: what askers that died, or left it, had in queue/flight, into the ledger */
void reclaim_begin(struct queue *q);                      /* at start, before anything comes in or leaves */
void reclaim_greet(struct peer *p);
void reclaim_of(struct queue *q, uint32_t owner);         /* FLIGHT_LEFT: what anybody has left; 0: what those had that are not there */
void reclaim_on_second(struct queue *q);
void reclaim_arrived(struct peer *p, uint64_t ticket);    /* a PUT has ended */

/* queue_watch.c */
void queue_look_at_disk(void *arg);                       /* in a worker; once at start */
void queue_on_second(void *arg);
void queue_read_clock(struct queue *q);                   /* at start: was it set while no queue ran? */
bool queue_believes_clock(struct queue *q);               /* asked before anything is over by it */
void queue_load_gate(struct queue *q);
void queue_save_gate(struct queue *q);                    /* at the end, when no worker is left */

/* intake.c */
int intake_message(struct peer *p, struct ipc_message *m);
void intake_peer_gone(struct peer *p);
bool intake_is_under_way(const struct queue *q, uint64_t ticket); /* a PUT with this ticket */

/* intake_admit.c */
struct mail_status intake_admit(struct queue *q, struct envelope *e, bool hop_down); /* what smtpd may not decide. MAIL_OK: admitted */
bool intake_is_withheld(const struct envelope *e);        /* nobody but the postmaster gets to see it: stored as a dead letter; a report, or: */
bool intake_is_held(const struct envelope *e);            /* what a filter held back */

/* taken.c */
/* What the schedule knows of a message, as if its file had been read: views of it; an item that is ready, or held, is due. False: of none that waits. */
bool taken_known(struct message *m, struct arena *mem, struct taken *out);
void queue_look_at(struct message *m, int64_t at_s);      /* enough until 2106 */
struct slice queue_sender_of(const struct envelope *e);   /* who turns go by */
/* The message is ours, its file stands: into the schedule, if it isn't there. */
void queue_take(struct queue *q, const struct taken *t);
void queue_take_in(struct queue *q, const struct envelope *e);

/* anew.c: the message as its file says now, into the schedule, in place of what the schedule had: when it is read, and what is out has come back. The old entry is gone then. */
void queue_take_anew(struct queue *q, const char id[SCHEDULE_ID]);

/* queue_ask.c */
void queue_retry(struct queue *q, struct message *m);     /* all of it that waits is due */

/* scan.c */
void scan_start(struct queue *q);
void scan_forget(struct queue *q, struct message *m);     /* the message is over: gone from the schedule, or as soon as the scan is */
void scan_free(struct queue *q);

/* rolls.c */
void rolls_open(struct queue *q);
void rolls_on_second(struct queue *q);
bool rolls_end(struct queue *q);                          /* at an orderly end, when nothing is under way: true once all are written; queue_look_idle is called then */
void rolls_stop(struct queue *q);                         /* before the workers end */
void rolls_free(struct queue *q);

/* survey.c: what the schedule knows of all messages, piece by piece, for porterctl. words: where to begin ("0 0"; then what the last answer said) */
int queue_survey(struct queue *q, const struct slice *words, size_t count, struct buf *answer);

/* paused.c */
void paused_list(struct queue *q, struct buf *out);       /* a line for each destination */
int paused_set(struct queue *q, uint64_t question, bool paused, struct slice place); /* HOUSE_LATER */
void paused_load(struct queue *q);                       /* at start */
void paused_free(struct queue *q);

/* drop_in.c */
void drop_prepare(struct queue *q);                       /* the folder, at start */
void drop_scan(struct queue *q);
void drop_free(struct queue *q);

/* told.c: reports on what was delivered at once; automatic replies */
int told_message(struct peer *p, struct ipc_message *m);
void vacation_look(struct queue *q);
void vacation_put_list(struct queue *q, struct buf *out);
void vacation_free(struct queue *q);

/* dead_letter.c */
void dead_letter_daily(struct queue *q);
void dead_letter_digest(struct queue *q);
void dead_letter_held(struct queue *q, const struct envelope *e); /* a filter held this one back: the postmaster is told */

/* dead_act.c */
int dead_act(struct queue *q, uint64_t question, bool released, const struct slice *words, size_t count, struct buf *answer); /* 0 or HOUSE_LATER */

/* post.c */
/* A message of ours (a report, a notice, a digest): stored and scheduled. content is taken. */
void queue_post(struct queue *q, const struct envelope *e, struct buf *content, void (*done)(void *arg, int error), void *arg);
/* Where an address of any kind leads: a local place, or the hop. Strings live in mem. */
struct envelope_recipient queue_address(struct queue *q, struct slice address, struct arena *mem);

/* attempt.c */
void attempt_start(struct queue *q, struct item *i);
void attempt_look_at(struct queue *q, struct item *i);       /* reads it; if its time is over it ends, if a notice is due its sender is told, else it goes back */
int attempt_result(struct queue *q, struct ipc *from, const struct ipc_message *m);
int attempt_host(struct queue *q, struct ipc *from, const struct ipc_message *m);
void attempt_channel_gone(struct queue *q, const struct ipc *channel);
void attempt_forget_all(struct queue *q);                 /* at the end of the process */

/* lookout.c */
void lookout_on_second(struct queue *q);

/* settling.c */
void settle_check(struct queue *q, struct message *m);    /* none of it is out: reports that are due, the end */

/* settle.c */
int64_t queue_backoff(const struct queue *q, struct slice id, unsigned attempts);
#endif
