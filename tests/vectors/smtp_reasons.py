"""Why dialogues of other servers' tests end differently here, by dialogue."""


def _because(reason, *names):
    return {n: reason for n in names}


_ACL = 'an access rule of that test\'s own configuration refuses; ours has none'
_AUTH = 'no AUTH on the MX port (502); the submission ports have it'
_TLS_PORT = 'meant for a port with TLS from the first byte'
_EXTENSION = 'an extension that Porter doesn\'t offer (RFC 5321 4.2.4: 500 or 502)'
_SYNC = 'Exim refuses what a client pipelines before it may; here it is answered in order, and nothing is lost or injected'
_PATH = 'RFC 5321 4.1.2: a path stands in angle brackets'
_DSN = 'rule.md: DSN isn\'t offered to strangers, its parameters are 555'
_LINES = 'the script waits for each line of a reply as for a reply of its own'

EXIM = {
    **_because('security-kit S13: after three unknown commands 421 and the end', '0562.4', '0562.5'),
    **_because(_ACL, '0022.2', '0439.1', '0458.1', '0458.2', '0458.3', '0458.4', '0458.5', '0458.6', '0629.1', '1104.1', '1105.1', '1108.2', '2132.3', '4506.9', '4526.8', '4600.1',
               '4600.3', '4600.8', '5703.1', '5703.2', '5703.3', '9402.1'),
    **_because(_AUTH, '0639.3', '0639.4', '0639.5', '0639.6', '0639.7', '3460.1', '3460.2', '3600.1', '3600.2', '3720.1', '3800.1', '9350.1', '9350.2', '9350.3'),
    **_because(_EXTENSION + ': EXPN', '0196.1'),
    **_because(_EXTENSION + ': ETRN', '0287.1', '0287.2'),
    **_because(_EXTENSION + ': ATRN', '0639.1', '0639.2'),
    **_because(_EXTENSION + ': XCLIENT', '4030.2', '4030.3', '4030.4', '4032.1', '4032.2', '4032.3', '4032.4', '4034.1', '4034.2', '4034.3', '4034.4'),
    **_because('who speaks before the greeting is answered 554 (a race of that script: without the delay it passes)', '4050.3', '4050.4', '4050.5', '4050.6'),
    **_because(_EXTENSION + ': WELLKNOWN', '4040.1', '4040.3', '4040.4', '4040.5', '4040.6', '4040.7', '4040.8'),
    **_because(_SYNC, '0300.1', '0300.2', '0300.3', '0300.4', '0300.5', '0300.7', '0300.9', '0556.1', '0556.2', '0556.3', '2102.3'),
    **_because(_PATH, '0900.1', '0900.11', '0900.12', '0900.2', '0900.3', '0900.4', '0900.5', '0900.6'),
    **_because('security-kit S1: a bare LF in DATA is 550', '0900.13'),
    **_because(_DSN, '5500.1', '5500.2', '5500.3', '5500.4', '5500.5'),
    **_because('STARTTLS after data was sent is answered in order there', '1101.1', '1148.1'),
    **_because(_TLS_PORT, '1148.2', '5721.1', '5721.2', '5721.3', '5721.4', '5721.5'),
    **_because('TLS is broken in that configuration; ours works', '2024.2', '5650.2'),
    **_because('the client breaks TLS with GnuTLS\' own options', '2002.3'),
    **_because(_LINES, '0458.7', '0547.3', '0547.4'),
    **_because('Exim closes after four commands out of order; max-errors is 20 here', '0637.1'),
}

CHASQUID = {
    **_because(_PATH, 'bad_data.cmy', 'bad_data_dot.cmy', 'bad_data_dot_2.cmy', 'bad_data_dot_on_message_too_big.cmy', 'data_dot_stuffing.cmy', 'message_too_big.cmy', 'sendmail.cmy'),
    **_because(_TLS_PORT, 'auth_multi_dialog.cmy', 'auth_too_many_failures.cmy'),
    **_because(_AUTH, 'auth_not_tls.cmy'),
    **_because('the same refusal with another code: 501 for an argument that is wrong (RFC 5321 4.2.2)', 'bad_mail_from.cmy', 'bad_rcpt_to.cmy', 'line_too_long.cmy'),
    **_because('security-kit S13: an HTTP verb is 421 and the end', 'wrong_proto.cmy'),
}

JAMES = {
    **_because(_AUTH, 'authplain.test', 'starttls_session_fixation.test'),
    **_because('security-kit T3: 554 and the end, where that server says 451', 'starttls_with_injection.test'),
}
