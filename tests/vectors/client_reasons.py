"""Why dialogues that play a server end differently with our client, by dialogue."""


def _because(reason, *names):
    return {n: reason for n in names}


_GREETS_TWICE = 'RFC 5321 4.3.2: the reply to EHLO is 250; a second 220 is a second greeting, and each reply behind it would be taken for that of the next command'

EXIM = {
    **_because(_GREETS_TWICE, '0374.1', '0375.1'),
    **_because('a line of more than 2,000 bytes (RFC 5321 4.5.3.1.5 allows 512), and a code that is none (4.2: 2yz to 5yz): nobody knows where that server is, and the client hangs up (security-kit T5)',
               '0163.1', '0213.1', '0474.1', '0474.2', '0474.3'),
    **_because('RFC 5321 3.2: HELO is for servers to which EHLO is an error of syntax; 450 says that it will not serve us now', '0211.2'),
    **_because('this server holds its reply to the dot until QUIT is there; a connection that is kept for the next message has no QUIT to say yet (RFC 2920 3.1: may, not must)', '0623.1', '0623.3', '0623.4'),
    **_because('the way in which Exim fails a TLS handshake, up to the bytes', '1164.1'),
    **_because('RFC 4954 4, RFC 8314: a password is shown inside TLS alone; these servers want it in the clear', '3401.1', '3401.2', '3401.3', '3401.4', '3401.5', '3401.6', '3401.7', '3401.8', '3401.9'),
    **_because('RFC 5321 3.1: a client waits for the greeting; what that server offered another time is not taken for granted (PIPECONNECT is Exim\'s own)', '4052.3', '4052.6', '4052.7', '4052.8'),
}
FAKE = {
    **_because(_GREETS_TWICE, 'others/ehlo/220.ron', 'others/helo/ehlo500_helo220.ron'),
}
