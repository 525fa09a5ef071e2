"""A name server's bad day: stands in front of a real one on loopback, over UDP and TCP, and spoils answers as the test says.

    with Faulty(world.port) as f:
        f.fault = 'servfail'                 # for all from now on; or a function of the name asked that says which
        ... f.resolver, f.questions, f.names"""
import random, socket, struct, threading, time

FAULTS = ('none', 'drop', 'delay', 'truncate', 'truncate-hard', 'servfail', 'wrong-id', 'wrong-question', 'garbage', 'short', 'late-twin', 'lie')


def question_end(message):
    """The offset behind the one question."""
    at = 12
    while at < len(message) and message[at]:
        at += message[at] + 1
    return at + 5


def name_of(question):
    """The name asked, in lower case, with its type: 'x.test TXT'."""
    labels, at = [], 12
    while at < len(question) and question[at]:
        labels.append(question[at + 1:at + 1 + question[at]].decode('latin-1').lower())
        at += question[at] + 1
    kind = struct.unpack('>H', question[at + 1:at + 3])[0] if at + 3 <= len(question) else 0
    return '.'.join(labels) + ' ' + {1: 'A', 5: 'CNAME', 12: 'PTR', 15: 'MX', 16: 'TXT', 28: 'AAAA', 43: 'DS', 48: 'DNSKEY', 52: 'TLSA'}.get(kind, str(kind))


def empty(answer, flags_or=0, rcode=0):
    """The same without its records."""
    flags = (struct.unpack('>H', answer[2:4])[0] | flags_or) & 0xfff0 | rcode
    return answer[:2] + struct.pack('>HHHHH', flags, 1, 0, 0, 0) + answer[12:question_end(answer)]


def spoil(fault, answer, r):
    """The packets to send instead, each with seconds to wait before."""
    if fault == 'drop':
        return []
    if fault == 'delay':
        return [(r.uniform(.05, .3), answer)]
    if fault in ('truncate', 'truncate-hard'):
        return [(0, empty(answer, flags_or=0x200))]
    if fault == 'servfail':
        return [(0, empty(answer, rcode=2))]
    if fault in ('nodata', 'nxdomain'):                   # without a signature, as a liar on the way says it
        return [(0, empty(answer, rcode=3 if fault == 'nxdomain' else 0))]
    if fault == 'wrong-id':
        return [(0, bytes([answer[0] ^ 0x55]) + answer[1:])]
    if fault == 'wrong-question':
        return [(0, answer[:13] + bytes([answer[13] ^ 3]) + answer[14:])] if len(answer) > 14 else []
    if fault == 'garbage':
        return [(0, answer[:2] + bytes(r.randrange(256) for _ in range(r.randrange(1, 200))))]
    if fault == 'short':
        return [(0, answer[:r.randrange(len(answer))])]
    if fault == 'late-twin':                              # a wrong one first, the true one behind it
        return [(0, bytes([answer[0] ^ 0x55]) + answer[1:]), (.02, answer)]
    if fault == 'lie':                                    # texts of the answer are other texts, under the right id
        return [(0, answer.replace(b'-all', b'+all').replace(b'p=reject', b'p=none;'))]
    return [(0, answer)]


class Faulty:
    def __init__(self, port, seed=1):
        self.upstream, self.random, self.fault, self.questions, self.names, self.ending = ('127.0.0.1', port), random.Random(seed), 'none', 0, {}, False
        for _ in range(20):                               # one port for both
            self.tcp = socket.create_server(('127.0.0.1', 0), backlog=50)
            self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            try:
                self.udp.bind(('127.0.0.1', self.tcp.getsockname()[1]))
                break
            except OSError:
                self.tcp.close(), self.udp.close()
        self.resolver = f'127.0.0.1@{self.udp.getsockname()[1]}'

    def __enter__(self):
        for loop in (self.serve_udp, self.serve_tcp):
            threading.Thread(target=loop, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.ending = True
        self.udp.close(), self.tcp.close()

    def now(self, question):
        name = name_of(question)
        self.names.setdefault(name)                       # a dictionary keeps their order
        return self.fault if isinstance(self.fault, str) else self.fault(name)

    def serve_udp(self):
        self.udp.settimeout(.2)
        while not self.ending:
            try:
                question, who = self.udp.recvfrom(4096)
            except socket.timeout:
                continue
            except OSError:
                return
            self.questions += 1
            threading.Thread(target=self.answer_udp, args=(question, who), daemon=True).start()

    def answer_udp(self, question, who):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as up:
            up.settimeout(5)
            try:
                up.sendto(question, self.upstream)
                answer = up.recv(65535)
                for wait, packet in spoil(self.now(question), answer, self.random):
                    time.sleep(wait)
                    self.udp.sendto(packet, who)
            except OSError:
                pass

    def serve_tcp(self):
        self.tcp.settimeout(.2)
        while not self.ending:
            try:
                s, _ = self.tcp.accept()
            except socket.timeout:
                continue
            except OSError:
                return
            threading.Thread(target=self.answer_tcp, args=(s,), daemon=True).start()

    def answer_tcp(self, s):
        """One question and its answer; 'truncate' is honest here, 'truncate-hard' closes."""
        with s, socket.create_connection(self.upstream, 5) as up:
            s.settimeout(5)
            try:
                while True:
                    question = s.recv(65535)
                    fault = self.now(question[2:])
                    if not question or fault == 'truncate-hard':
                        return
                    up.sendall(question)
                    n = struct.unpack('>H', up.recv(2, socket.MSG_WAITALL))[0]
                    answer = up.recv(n, socket.MSG_WAITALL)
                    for wait, packet in spoil('none' if fault == 'truncate' else fault, answer, self.random):
                        time.sleep(wait)
                        s.sendall(struct.pack('>H', len(packet)) + packet)
            except (OSError, struct.error):
                pass
