/* From errno to the words of RFC 3463. */
#include "delivery/mailbox_status.h"

#include <errno.h>

struct mail_status mailbox_status_of(int error)
{
	switch (error) {
	case 0:
		return MAIL_STATUS_OK;
	case -ENOSPC:
		return MAIL_STATUS(MAIL_LATER, 452, 3, 1, "Insufficient system storage, try again later");
	case -EDQUOT:
		return MAIL_STATUS(MAIL_LATER, 452, 2, 2, "Mailbox is full, try again later");
	case -EMFILE:
	case -ENFILE:
	case -ENOMEM:
	case -EBUSY:
		return MAIL_STATUS(MAIL_LATER, 451, 3, 2, "Too busy, try again later");
	case -ENOENT:
	case -ENOTDIR:
	case -ELOOP:
	case -EACCES:
	case -EPERM:
	case -EINVAL:
	case -EXDEV:
		return MAIL_STATUS(MAIL_LATER, 451, 2, 0, "Mailbox is not available, try again later");
	default:
		return MAIL_STATUS(MAIL_LATER, 451, 3, 0, "Mail store is not available, try again later");
	}
}
