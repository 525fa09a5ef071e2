"""A DNS server of a test's own on loopback, with faults on demand.

    with Dns({'x.test': {'TXT': ['v=spf1 -all'], 'A': ['192.0.2.1']}, '*.y.test': {...}, 'z.test': 'SERVFAIL'}) as d:
        Porter(settings={'dns-resolvers': d.resolver})

A name's value may be a word instead of records: DROP, SERVFAIL, REFUSED, WRONG-ID, GARBAGE, TRUNCATE (over UDP; TCP answers), SLOW (a second late).
What isn't there, nor above something that is, does not exist."""
import ipaddress, socket, socketserver, struct, threading, time

TYPES = {'A': 1, 'NS': 2, 'CNAME': 5, 'PTR': 12, 'MX': 15, 'TXT': 16, 'AAAA': 28, 'TLSA': 52}
NAMES = {v: k for k, v in TYPES.items()}


def wire_name(name):
    return b''.join(bytes([len(p)]) + p for p in (l.encode('latin1') for l in name.rstrip('.').split('.') if l)) + b'\0'


def rdata(kind, value):
    if kind in ('A', 'AAAA'):
        return ipaddress.ip_address(value).packed
    if kind in ('CNAME', 'PTR', 'NS'):
        return wire_name(value)
    if kind == 'MX':
        preference, host = value.split()
        return struct.pack('!H', int(preference)) + wire_name(host)
    if kind == 'TLSA':
        a, b, c, d = value.split()
        return bytes([int(a), int(b), int(c)]) + bytes.fromhex(d)
    raw = value if isinstance(value, bytes) else value.encode()
    return b''.join(bytes([len(raw[i:i + 255])]) + raw[i:i + 255] for i in range(0, max(len(raw), 1), 255))


class Dns:
    def __init__(self, records, port=0):
        self.records = {k.lower().rstrip('.'): v for k, v in records.items()}
        self.asked, self.lock = [], threading.Lock()
        owner = self

        class Udp(socketserver.BaseRequestHandler):
            def handle(self):
                out = owner.answer(self.request[0], True)
                if out:
                    self.request[1].sendto(out, self.client_address)

        class Tcp(socketserver.BaseRequestHandler):
            def handle(self):
                try:
                    n = struct.unpack('!H', self.request.recv(2))[0]
                    out = owner.answer(self.request.recv(n), False)
                    if out:
                        self.request.sendall(struct.pack('!H', len(out)) + out)
                except (struct.error, OSError):
                    pass

        for _ in range(50):
            self.udp = socketserver.ThreadingUDPServer(('127.0.0.1', port), Udp)
            self.port = self.udp.server_address[1]
            try:
                socketserver.ThreadingTCPServer.allow_reuse_address = True
                self.tcp = socketserver.ThreadingTCPServer(('127.0.0.1', self.port), Tcp)
                break
            except OSError:
                self.udp.server_close()
        for s in (self.udp, self.tcp):
            s.daemon_threads = True
            threading.Thread(target=s.serve_forever, kwargs={'poll_interval': .05}, daemon=True).start()
        self.resolver = f'127.0.0.1@{self.port}'

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for s in (self.udp, self.tcp):
            s.shutdown()
            s.server_close()

    def find(self, name):
        if name in self.records:
            return self.records[name]
        rest = name
        while '.' in rest:
            rest = rest.partition('.')[2]
            if '*.' + rest in self.records:
                return self.records['*.' + rest]
            if rest in self.records:
                return None
        return None

    def answer(self, query, udp):
        if len(query) < 17:
            return None
        at, labels = 12, []
        while query[at]:
            labels.append(query[at + 1:at + 1 + query[at]].decode('latin1'))
            at += 1 + query[at]
        question = query[12:at + 5]
        kind = NAMES.get(struct.unpack('!H', query[at + 1:at + 3])[0], '?')
        name = '.'.join(labels).lower()
        with self.lock:
            self.asked.append((name, kind))
        return self.respond(query, question, name, kind, udp)

    def respond(self, query, question, name, kind, udp):
        ident, code, answers, flags = query[:2], 0, [], 0x8580
        for _ in range(10):
            found = self.find(name)
            if isinstance(found, str):
                if found == 'DROP':
                    return None
                if found == 'GARBAGE':
                    return ident + b'\x85\x80\xff\xff' * 3
                if found == 'SLOW':
                    time.sleep(1)
                if found == 'WRONG-ID':
                    ident = bytes([ident[0] ^ 1, ident[1]])
                if found == 'TRUNCATE' and udp:
                    flags |= 0x0200
                code = {'SERVFAIL': 2, 'REFUSED': 5}.get(found, 0)
                found = self.records.get('=' + name) if not code else None
            if found is None:
                if not code and not answers and not any(k.endswith('.' + name) for k in self.records):
                    code = 3
                break
            if kind in found:
                answers += [(name, kind, rdata(kind, v)) for v in found[kind]]
                break
            if 'CNAME' not in found:
                break
            answers.append((name, 'CNAME', rdata('CNAME', found['CNAME'][0])))
            name = found['CNAME'][0].lower().rstrip('.')
        if flags & 0x0200:
            answers = []
        body = b''.join(wire_name(n) + struct.pack('!HHIH', TYPES[k], 1, 60, len(d)) + d for n, k, d in answers)
        out = ident + struct.pack('!HHHHH', flags | code, 1, len(answers), 0, 0) + question + body
        if udp and len(out) > 1232:
            out = ident + struct.pack('!HHHHH', flags | 0x0200, 1, 0, 0, 0) + question
        return out
