#!/usr/bin/env python3
"""Runs tests/dialog/*.txt against one Porter: dialogues that anyone can write.

    == sentence that this dialogue proves      begins a new connection
    C: EHLO client.test                        sent with CRLF; \\r \\n \\0 \\xHH \\\\ are bytes
    C- half a line                             sent without
    C* 5000 x                                  that many times the text, without CRLF
    S: 250 *                                   the next reply: code, then a glob for its last line's text
    S+ SIZE *                                  some line of that reply matches this, too
    S! STARTTLS*                               no line of it does
    S: EOF                                     the connection has ended
    TLS                                        handshake (behind a 220)
    # a comment

A file may begin with lines `@setting NAME VALUE` and `@map NAME LINE`: then it has a Porter of its own. `@listener submission` in a dialogue talks to that one;
`@source 127.0.0.9` comes from there; `@fresh` begins without the greeting having been read."""
import fnmatch, re, ssl, sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / 'lib'))
from porter import TOP, Porter, Talk, check, finish  # noqa: E402


def unescape(text):
    def one(m):
        c = m[1]
        return {'r': '\r', 'n': '\n', '0': '\0', 't': '\t', '\\': '\\'}.get(c) or chr(int(c[1:], 16))
    return re.sub(r'\\(r|n|0|t|\\|x[0-9a-fA-F]{2})', one, text).encode('latin-1' if '\\x' in text else 'utf-8')


def read(path):
    settings, maps, dialogues = {}, {}, []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line.strip() or line.startswith('#'):
            continue
        if line.startswith('== '):
            dialogues.append((line[3:], []))
        elif not dialogues:
            word, name, value = line.split(None, 2)
            if word == '@setting':
                settings[name] = value
            elif word == '@map':
                maps[name] = maps.get(name, '') + value + '\n'
        else:
            dialogues[-1][1].append((number, line))
    return settings, maps, dialogues


def expect(talk, wanted, state):
    code, lines = talk.reply()
    state['reply'] = lines
    if wanted == 'EOF':
        return code == 0 or f'got {code} {lines[-1:]}'
    want_code, _, text = wanted.partition(' ')
    got = lines[-1][4:] if lines else ''
    return (fnmatch.fnmatchcase(str(code), want_code) and fnmatch.fnmatchcase(got, text or '*')) or f'got {code} {lines[-1:]}'


def starttls(talk):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    talk.file.close()
    talk.socket = context.wrap_socket(talk.socket, server_hostname='mx.example.test')
    talk.file = talk.socket.makefile('rb')


def step(talk, line, state):
    """True, or what went wrong."""
    kind, rest = line[:2], line[2:].lstrip(' ') if line[2:3] == ' ' else line[2:]
    try:
        if kind == 'C:':
            talk.raw(unescape(rest) + b'\r\n')
        elif kind == 'C-':
            talk.raw(unescape(rest))
        elif kind == 'C*':
            times, _, text = rest.partition(' ')
            talk.raw(unescape(text) * int(times))
        elif line.strip() == 'TLS':
            starttls(talk)
    except (BrokenPipeError, ConnectionResetError):
        pass                                    # whether that was right the next S: says
    if kind == 'S:':
        return expect(talk, rest, state)
    if kind in ('S+', 'S!'):
        found = any(fnmatch.fnmatchcase(l[4:], rest) for l in state['reply'])
        return found == (kind == 'S+') or f'in {state["reply"]}'
    return True


def run(porter, lines):
    port, source, greet = None, None, True
    while lines and lines[0][1].startswith('@'):
        word, *value = lines.pop(0)[1].split()
        if word == '@listener':
            port = getattr(porter, value[0])
        elif word == '@source':
            source = value[0]
        elif word == '@fresh':
            greet = False
    state = {'reply': []}
    with Talk(porter, port=port, source=source, greet=greet) as talk:
        for number, line in lines:
            result = step(talk, line, state)
            if result is not True:
                return f'line {number}, {line[:60]!r}: {result}'
    return True


def main():
    files = sorted((TOP / 'tests/dialog').glob('*.txt'))
    if len(sys.argv) > 1:
        files = [f for f in files if any(a in f.name for a in sys.argv[1:])]
    shared = None
    for path in files:
        settings, maps, dialogues = read(path)
        own = bool(settings or maps)
        if own or shared is None:
            porter = Porter(f'dialog-{path.stem}', settings=settings, maps=maps)
            shared = shared if own else porter
        else:
            porter = shared
        for sentence, lines in dialogues:
            result = run(porter, lines)
            check(f'{path.stem}: {sentence}', result is True, '' if result is True else result)
        if own:
            porter.down()
    finish()


if __name__ == '__main__':
    main()
