#!/usr/bin/env python3
"""Tables of other servers, as their Debian packages and documentation show them, turned into ours; and maps from commands and from a real OpenLDAP slapd."""
import json, os, re, shutil, socket, subprocess, sys, time
from pathlib import Path
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / 'lib'))
from importing import entries, imported, put
from porter import BUILD, Porter, check, finish, skip, free_port


# The Debian package's main.cf (postconf defaults left out), and the tables of VIRTUAL_README, STANDARD_CONFIGURATION_README, ADDRESS_CLASS_README, SASL_README.
POSTFIX = {
    'main.cf': '''# See /usr/share/postfix/main.cf.dist for a commented, more complete version
smtpd_banner = $myhostname ESMTP $mail_name (Debian/GNU)
biff = no
append_dot_mydomain = no
compatibility_level = 3.6
smtpd_relay_restrictions = permit_mynetworks permit_sasl_authenticated defer_unauth_destination
myhostname = mail.example.org
mydomain = example.org
alias_maps = hash:/etc/aliases
alias_database = hash:/etc/aliases
mydestination = $myhostname, example.org, mail.example.org, localhost.example.org, localhost
relayhost = [smart.example.net]:587
mynetworks = 127.0.0.0/8 [::ffff:127.0.0.0]/104 [::1]/128 192.0.2.0/28
mailbox_size_limit = 0
message_size_limit = 20480000
virtual_alias_domains = example.com ...other.hosted
virtual_alias_maps = hash:/etc/postfix/virtual
virtual_mailbox_domains = hosted.example
virtual_mailbox_base = /var/mail/vhosts
virtual_mailbox_maps = hash:/etc/postfix/vmailbox
relay_domains = inner.example
relay_recipient_maps = hash:/etc/postfix/relay_recipients
transport_maps = hash:/etc/postfix/transport, pcre:/etc/postfix/transport.pcre
smtpd_client_restrictions = permit_mynetworks,
    check_client_access hash:/etc/postfix/client_access
smtpd_sender_restrictions = check_sender_access hash:/etc/postfix/sender_access
smtpd_sender_login_maps = hash:/etc/postfix/controlled_envelope_senders
smtp_sasl_password_maps = hash:/etc/postfix/sasl_passwd
sender_canonical_maps = hash:/etc/postfix/sender_canonical
''',
    'aliases': '# See man 5 aliases for format\npostmaster:    root\nroot: alice\nsupport: alice, bob,\n  carol\narchive: /var/mail/archive\nvacation: "|/usr/bin/vacation alice"\n'
               'shell: "|cat > /tmp/x"\nnull: /dev/null\n',
    'virtual': 'postmaster@example.com postmaster\njoe@example.com    joe@somewhere.example\njane@example.com   jane@somewhere-else.example, alice\n@example.com jim\n',
    'vmailbox': 'info@hosted.example    hosted.example/info\nsales@hosted.example   hosted.example/sales/\n',
    'relay_recipients': 'ann@inner.example OK\nben@inner.example OK\n',
    'transport': 'inner.example   relay:[192.0.2.40]:2525\n.far.example  smtp:gw.example\nold.example error:5.1.2 no longer here\nlist.example lmtp:unix:/run/lists\nodd.example  uucp:odd\n',
    'client_access': '192.0.2.66 REJECT go away\n203.0.113 DEFER\n.dialup.example 554 5.7.1 no dialup\n198.51.100.9 OK\n198.51.100.8 FILTER x:y\n',
    'sender_access': 'spam@bad.example REJECT\nbad.example 450 later\n',
    'controlled_envelope_senders': 'alice@example.org alice\n',
    'sasl_passwd': '[smart.example.net]:587 ourname:ourpass\n',
    'sender_canonical': 'a@x b@y\n',
}
# Tables of domains, braces, an origin of its own, IPv6 next hops: what grown configurations have.
POSTFIX_GROWN = {
    'main.cf': '''myhostname = mx1.corp.example
mydomain = corp.example
myorigin = $mydomain
mydestination = $myhostname, localhost, $mydomain,
    # a comment between
    /etc/postfix/morelocal
recipient_delimiter = -
relay_domains = lmdb:/etc/postfix/relay_domains
    extra.example
relay_recipient_maps = proxy:hash:/etc/postfix/rr
virtual_mailbox_domains = hash:/etc/postfix/vdomains
virtual_alias_maps = texthash:$config_directory/virtual, inline:{ x@corp.example=alice, {y@corp.example=bob, carol} }
alias_maps =
transport_maps = hash:/etc/postfix/transport
smtpd_recipient_restrictions = permit_mynetworks, reject_unauth_destination, check_policy_service unix:private/policy, reject_rbl_client bl.example
mynetworks = 127.0.0.0/8
''',
    'morelocal': 'third.example\n', 'relay_domains': 'in.example OK\nin2.example relay\n', 'rr': 'a@in.example x\n@in2.example x\n', 'vdomains': 'v.example anything\n',
    'virtual': 'sales@corp.example alice\nsales@corp.example bob\n', 'transport': 'in.example smtp:[IPv6:2001:db8::1]:2525\nin2.example smtp:[ipv6-host.example]\n',
}
EXIM = {
    'exim4.conf': r'''######################################################################
#                    MAIN CONFIGURATION SETTINGS                     #
primary_hostname = mail.example.org
domainlist local_domains = @ : example.org : lists.example.org
domainlist relay_to_domains = inner.example : backup.example
hostlist   relay_from_hosts = localhost : 127.0.0.1 : 192.0.2.0/24 : 2001::db8::::1
message_size_limit = 50M
acl_smtp_rcpt = acl_check_rcpt
begin acl
acl_check_rcpt:
  accept  hosts = :
  deny    message       = Restricted characters in address
          domains       = +local_domains
begin routers
smarthosted:
  driver = manualroute
  domains = ! +local_domains
  route_list = inner.example  192.0.2.41 ; \
               *.partner.example gw.partner.example::2525
dnslookup:
  driver = dnslookup
  domains = ! +local_domains
  transport = remote_smtp
  no_more
system_aliases:
  driver = redirect
  allow_fail
  allow_defer
  data = ${lookup{$local_part}lsearch{/etc/mail-aliases-of-exim}}
  file_transport = address_file
userforward:
  driver = redirect
  check_local_user
  file = $home/.forward
localuser:
  driver = accept
  check_local_user
  transport = local_delivery
computed:
  driver = redirect
  data = ${if eq{$domain}{x}{a}{b}}
virtual:
  driver = redirect
  domains = dsearch;/etc/mail/virtual
  data = ${lookup{$local_part}lsearch*{/etc/mail/virtual/$domain_data}}
  no_more
begin transports
remote_smtp:
  driver = smtp
begin retry
*                      *           F,2h,15m; G,16h,1h,1.5; F,4d,6h
''',
    'mail-aliases-of-exim': 'postmaster: alice\nalice: alice@elsewhere.example\n', 'virtual/v1.example': 'info: alice, bob@far.example\n*: alice\n', 'virtual/v2.example': 'x: x@v1.example\n',
}
DEBIAN_EXIM = {
    'update-exim4.conf.conf': "dc_eximconfig_configtype='smarthost'\ndc_other_hostnames='example.org;www.example.org'\ndc_local_interfaces='127.0.0.1 ; ::1'\n"
                              "dc_relay_domains='relay.example'\ndc_minimaldns='false'\ndc_relay_nets='192.0.2.0/24'\ndc_smarthost='smart.example.net::587'\n",
}
OPENSMTPD = {
    'smtpd.conf': '''#	$OpenBSD: smtpd.conf,v 1.14 2019/11/26 20:14:38 gilles Exp $
# This is the smtpd server system-wide configuration file.
table aliases file:/etc/mail-aliases
table domains file:/etc/mail-domains
table virtuals file:/etc/mail-virtuals
table secrets file:/etc/mail-secrets
table inline { "sales@example.org" = alice, "both@example.org" = "alice, bob@far.example" }
listen on lo
action "local_mail" mbox alias <aliases>
action "domain_mail" maildir junk virtual <virtuals>
action "outbound" relay host smtp+tls://ourlabel@smart.example.net:587 auth <secrets>
action "mx2" relay backup
match from any for domain <domains> action "domain_mail"
match from any for domain "backup.example" action "mx2"
action "more" maildir virtual <inline>
match from any for domain "more.example" action "more"
match from src { 192.0.2.0/24 } for any action "outbound"
match for local action "local_mail"
match from any mail-from "@bad.example" for any reject
''',
    'mail-aliases': 'postmaster: root\nroot: alice\n', 'mail-domains': 'example.org\nexample.net\n',
    'mail-virtuals': 'info@example.org alice\n@example.net bob\n', 'mail-secrets': 'ourlabel user:password\n',
}
SENDMAIL = {
    'local-host-names': '# local-host-names - include all aliases for your machine here.\nexample.org\nmail.example.org\n', 'relay-domains': 'inner.example\n192.0.2.9\n198.51.100\n[192.0.2.8]\n',
    'virtusertable': 'info@hosted.example\talice\nold@hosted.example\terror:nouser No such user here\n@whole.example\t%1@example.org\n@catch.example\tbob\nx@p.example %2@y\njoe+*@hosted.example joe\n',
    'mailertable': 'inner.example\tesmtp:[192.0.2.42]\n.far.example\trelay:gw.example\nuu.example\tuucp-new:uu\n',
    'access': 'Connect:192.0.2.77\tREJECT\nFrom:spam@bad.example\tERROR:5.7.1:550 go\nTo:list@example.org\tREJECT\nConnect:10.1\tRELAY\nConnect:host.example RELAY\nbad.example\tDISCARD\n',
    'aliases': 'mailer-daemon: postmaster\npostmaster: root\nroot: alice\n', 'sendmail.mc': "dnl define(`SMART_HOST', `no')\ndefine(`SMART_HOST', `smart.example.net')dnl\n",
    'genericstable': 'a b\n',
}
QMAIL = {
    'control/me': 'mail.example.org\n', 'control/locals': 'example.org\n', 'control/rcpthosts': 'example.org\nbackup.example\n', 'control/virtualdomains': 'virt.example:joe\n',
    'control/smtproutes': 'backup.example:192.0.2.43:26\n:smart.example.net\n', 'control/databytes': '20000000\n',
    'alias/.qmail-postmaster': '&alice@example.org\n', 'alias/.qmail-first:last': 'bob@example.org\n', 'alias/.qmail-prog': '|preline /usr/bin/x\n', 'alias/.qmail-null': '#\n', 'users/assign': '=joe:joe:1:1:/home/joe:::\n.\n',
}

with Porter('import', start=False) as p:
    base = p.dir / 'sources'
    to, said = imported(p, 'postfix', put(base / 'postfix', POSTFIX),
        domains=['mail.example.org mailbox', 'example.org mailbox', 'example.com mailbox', 'hosted.example mailbox', 'inner.example relay mx recipients=relay-recipients',
                 'old.example refuse 5.1.2 no longer here'],
        recipients=['info@hosted.example mbox:/var/mail/vhosts/hosted.example/info', 'sales@hosted.example maildir:/var/mail/vhosts/hosted.example/sales'],
        aliases=['postmaster root', 'root alice', 'support alice, bob, carol', 'archive /var/mail/archive', 'vacation "|/usr/bin/vacation alice"', 'joe@example.com joe@somewhere.example',
                 'postmaster@example.com postmaster@mail.example.org', '@example.com jim@mail.example.org'],
        routes=['inner.example [192.0.2.40]:2525', '.far.example mx:gw.example', 'list.example lmtp:unix:/run/lists', '* smart.example.net:587'],
        access=['192.0.2.66 refuse go away', '203.0.113.0/24 defer ', 'ptr:.dialup.example refuse 554 5.7.1 no dialup', '198.51.100.9 accept', 'from:spam@bad.example refuse ', 'from:bad.example defer 450 later'],
        clients=['127.0.0.0/8 wide, *', '::1/128 *', '192.0.2.0/28 *'], senders=['alice alice@example.org'], credentials=['hop--smart.example.net--587 hop "ourname" "ourpass"'],
        relay_recipients=['ann@inner.example', 'ben@inner.example'])
    for what in ('transport.pcre', 'shell', '/dev/null', 'FILTER', 'uucp', 'sender_canonical_maps', '...other.hosted'):
        check(f'import postfix lists what it could not carry over: {what}', what in said.split('By hand')[0], said)
    check('import postfix tells what is for porter.conf', 'size-limit 20480000' in said and 'hostname mail.example.org' in said, said)

    to, said = imported(p, 'postfix', put(base / 'grown', POSTFIX_GROWN),
        domains=['mx1.corp.example mailbox', 'corp.example mailbox', 'third.example mailbox', 'v.example mailbox', 'in.example relay mx recipients=relay-recipients',
                 'in2.example relay mx recipients=relay-recipients', 'extra.example relay mx recipients=relay-recipients'],
        aliases=['sales@corp.example alice@corp.example'], routes=['in.example [2001:db8::1]:2525', 'in2.example ipv6-host.example'], relay_recipients=['a@in.example', '@in2.example'])
    for what in ('check_policy_service unix:private/policy', 'reject_rbl_client bl.example', 'sales@corp.example stands there twice', 'inline:{ x@corp.example=alice, {y@corp.example=bob, carol} }: a table of this type'):
        check(f'import postfix lists what it could not carry over: {what}', what in said.split('By hand')[0], said)
    check('and says what local domains share, and where subaddresses begin', 'alias-of corp.example" for those of mx1.corp.example, localhost' in said and 'delimiter=-' in said and 'USER@corp.example' in said, said)
    check('import postfix reads no pieces of a list in braces as files', 'No such file' not in said, said)

    put(base / 'aliasfile', {'aliases': POSTFIX['aliases']})
    to = p.dir / 'from-aliases'
    r = p.ctl('import', '--to', to, 'aliases', base / 'aliasfile/aliases')
    check('import aliases takes aliases(5)', r.returncode == 0 and 'support alice, bob, carol' in entries(to, 'aliases'), r.stdout + r.stderr)

    to, said = imported(p, 'exim', put(base / 'exim', EXIM),
        domains=['mail.example.org mailbox', 'example.org mailbox', 'lists.example.org mailbox', 'inner.example relay mx recipients=ask', 'backup.example relay mx recipients=ask', 'v1.example mailbox', 'v2.example mailbox'],
        aliases=['postmaster alice', 'alice alice@elsewhere.example', 'info@v1.example alice@mail.example.org, bob@far.example', '@v1.example alice@mail.example.org', 'x@v2.example x@v1.example'], routes=['inner.example [192.0.2.41]:25', '.partner.example gw.partner.example:2525'],
        clients=['127.0.0.1 *', '192.0.2.0/24 *', '2001:db8::1 *'])
    check('the first domain of an import of Exim is its own', entries(to, 'domains')[0] == 'mail.example.org mailbox', entries(to, 'domains'))
    check('import exim lists the router that is computed, and localhost as a name', 'computed' in said and 'localhost' in said, said)
    imported(p, 'exim', put(base / 'debian-exim', DEBIAN_EXIM), domains=['example.org mailbox', 'relay.example relay mx recipients=ask'], clients=['192.0.2.0/24 *'],
             routes=['* smart.example.net:587'])
    to, said = imported(p, 'opensmtpd', put(base / 'opensmtpd', OPENSMTPD), domains=['example.org mailbox', 'example.net mailbox', 'backup.example relay mx recipients=ask', 'more.example mailbox'],
        aliases=['info@example.org alice', '@example.net bob', 'postmaster root', 'sales@example.org alice', 'both@example.org alice, bob@far.example'], routes=['* smart.example.net:587 tls=encrypt credentials=ourlabel'],
        clients=['192.0.2.0/24 *'], credentials=['ourlabel hop "user" "password"'])
    check('import opensmtpd lists the match that rejects', 'access has to be written by hand' in said, said)
    to, said = imported(p, 'sendmail', put(base / 'mail', SENDMAIL), domains=['example.org mailbox', 'inner.example relay mx recipients=ask', 'whole.example alias-of example.org', 'catch.example mailbox'],
        aliases=['info@hosted.example alice', 'old@hosted.example :refuse: No such user here', '@catch.example bob', 'postmaster root'], routes=['inner.example [192.0.2.42]', '.far.example mx:gw.example', '* smart.example.net'],
        access=['192.0.2.77 refuse', 'from:spam@bad.example refuse 550 go', 'to:list@example.org refuse'], clients=['192.0.2.9 *', '198.51.100.0/24 *', '192.0.2.8 *', '10.1.0.0/16 wide, *'])
    check('import sendmail lists DISCARD, pieces of addresses, and names of clients', all(x in said for x in ('DISCARD', 'pieces', 'made up', 'genericstable', 'uucp-new', 'joe+*')), said)
    check('and domains that have addresses and are not served', 'nobody looks at these:\nhosted.example\n' in said, said)
    to, said = imported(p, 'qmail', put(base / 'qmail', QMAIL), domains=['example.org mailbox', 'virt.example mailbox', 'backup.example relay mx recipients=ask'],
        routes=['backup.example [192.0.2.43]:26', '* smart.example.net:25'], aliases=['postmaster alice@example.org', 'first.last bob@example.org'])
    check('import qmail lists the program, the file that drops mail, and users', all(x in said for x in ('delivery instruction', '.qmail-null:0: no instruction', 'users/assign')), said)
    check('an import never overwrites', p.ctl('import', '--to', to, 'qmail', base / 'qmail').returncode != 0)

    # -- sync from a command ------------------------------------------------------------------------------------------------------------
    source, script = Path('/tmp') / f'porter-sync-{os.getpid()}.txt', Path('/tmp') / f'porter-sync-{os.getpid()}.sh'
    script.write_text(f'#!/bin/sh\nid -un >&2\nfor f in /proc/self/fd/*; do readlink $f; done >&2\ncat {source}\n')
    script.chmod(0o755)
    p.map('sync', f'inner command every=1h {script}')
    source.write_text(''.join(f'u{i}@r.test\n' for i in range(100)))
    source.chmod(0o644)
    r = p.ctl('sync', 'inner')
    check('sync fetches a map from a command', r.returncode == 0 and len(entries(p.etc, 'inner')) == 100, r.stdout + r.stderr)
    if os.geteuid() == 0:
        check('and runs it as an unprivileged user', 'nobody' in r.stderr, r.stderr)
    with open('/etc/passwd') as held:
        r = subprocess.run([BUILD / 'porterctl', '-c', p.etc, 'sync', 'inner'], pass_fds=[held.fileno()], capture_output=True, text=True)
    check('what is open in whoever calls porterctl is not open in the command', r.returncode == 0 and '/etc/passwd' not in r.stderr, r.stderr)
    p.ctl('domain', 'add', 'r.test', 'relay', 'mx', 'recipients=inner')
    source.write_text(''.join(f'u{i}@r.test\n' for i in range(95)))
    check('a result that lost 5 % is taken', p.ctl('sync', 'inner').returncode == 0 and len(entries(p.etc, 'inner')) == 95)
    for what, text in (('lost more than 10 %', ''.join(f'u{i}@r.test\n' for i in range(80))), ('is empty', ''), ('is no map', 'nonsense here\n')):
        source.write_text(text)
        r = p.ctl('sync', 'inner')
        check(f'a result that {what} is not taken, and an alert says so', r.returncode != 0 and 'stays as it is' in r.stderr and len(entries(p.etc, 'inner')) == 95, r.stderr)
    source.unlink()
    r = p.ctl('sync', 'inner')
    check('a command that fails is not taken', r.returncode != 0 and len(entries(p.etc, 'inner')) == 95, r.stderr)
    source.write_text(''.join(f'u{i}@r.test\n' for i in range(100)))
    check('sync --due does nothing before the time has come', p.ctl('sync', '--due').returncode == 0 and len(entries(p.etc, 'inner')) == 95)
    os.utime(p.etc / 'inner', (time.time() - 3700,) * 2)
    r = p.ctl('sync', '--due')
    check('and fetches the map once it has', r.returncode == 0 and len(entries(p.etc, 'inner')) == 100, r.stdout + r.stderr)
    source.unlink()
    script.unlink()

    # -- sync from a directory -------------------------------------------------------------------------------------------------------------
    if not shutil.which('slapd'):
        skip('sync reads a real OpenLDAP', 'slapd is not installed')
    else:
        d, port = p.dir / 'ldap', free_port()
        (d / 'data').mkdir(parents=True)
        schema = d / 'ad.schema'
        schema.write_text("attributetype ( 1.2.840.113556.1.2.210 NAME 'proxyAddresses' EQUALITY caseIgnoreMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )\n"
                          "objectclass ( 1.3.6.1.4.1.99999.1 NAME 'adUser' SUP top AUXILIARY MAY ( proxyAddresses $ mail ) )\n")
        (d / 'slapd.conf').write_text(f'include /etc/ldap/schema/core.schema\ninclude {schema}\nmodulepath /usr/lib/ldap\nmoduleload back_mdb\npidfile {d}/pid\n'
                                      f'sizelimit size.soft=unlimited size.hard=unlimited size.prtotal=unlimited\n'
                                      f'database mdb\nsuffix "dc=example,dc=test"\nrootdn "cn=admin,dc=example,dc=test"\nrootpw topsecret\ndirectory {d}/data\n'
                                      f'access to * by dn="cn=admin,dc=example,dc=test" write by * none\n')
        ldif = 'dn: dc=example,dc=test\nobjectClass: dcObject\nobjectClass: organization\no: x\ndc: example\n\n'
        for i in range(1200):
            ldif += (f'dn: cn=user{i},dc=example,dc=test\nobjectClass: person\nobjectClass: adUser\ncn: user{i}\nsn: s\nproxyAddresses: SMTP:user{i}@ad.test\n'
                     f'proxyAddresses: smtp:alias{i}@ad.test\nproxyAddresses: X500:/o=Org/cn=user{i}\nproxyAddresses: sip:user{i}@ad.test\n\n')
        (d / 'all.ldif').write_text(ldif)
        subprocess.run(['slapadd', '-f', d / 'slapd.conf', '-l', d / 'all.ldif', '-q'], check=True, capture_output=True)
        slapd = subprocess.Popen(['slapd', '-f', d / 'slapd.conf', '-h', f'ldap://127.0.0.1:{port}', '-d', '0'], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            for _ in range(100):
                with socket.socket() as s:
                    if s.connect_ex(('127.0.0.1', port)) == 0:
                        break
                time.sleep(.1)
            (p.etc / 'pw').write_text('topsecret\n')
            p.map('sync', f'ad ldap url=ldap://127.0.0.1:{port} base="dc=example,dc=test" filter="(proxyAddresses=*)" attribute=proxyAddresses '
                          f'bind="cn=admin,dc=example,dc=test" password-file=pw page=100')
            r = p.ctl('sync', 'ad')
            have = entries(p.etc, 'ad')
            check('sync reads a directory page by page: 1,200 entries, 2,400 addresses', r.returncode == 0 and len(have) == 2400 and 'alias7@ad.test' in have, (len(have), r.stderr))
            check('and takes SMTP addresses alone', not any('X500' in l or ':' in l for l in have))
            (p.etc / 'pw').write_text('wrong\n')
            r = p.ctl('sync', 'ad')
            check('a wrong password is told, and the map stays', r.returncode != 0 and 'bind' in r.stderr and len(entries(p.etc, 'ad')) == 2400, r.stderr)
        finally:
            slapd.terminate()
            slapd.wait(20)
        r = p.ctl('sync', 'ad')
        check('a directory that is gone is told, and the map stays', r.returncode != 0 and len(entries(p.etc, 'ad')) == 2400, r.stderr)
finish()
