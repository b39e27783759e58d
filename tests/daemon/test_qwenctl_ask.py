"""What ask does beside asking: code blocks, prompts shown, cut documents, templates, sessions; chat with the same.

usage: test_qwenctl_ask.py QWENCTL FAKE_SERVER [unittest options]
"""
import json
import os
import re
import signal
import stat
import subprocess
import sys
import unittest

from test_qwenctl import ANSWER, END, LIMIT_S, QWENCTL, Case

LENGTH = 'send Usage+end prompt_tokens=3 answer_tokens=2 finish=FINISH_LENGTH\n'


def answer(text, end=END):
    return f'await Generate\nsay "{text}"\n{end}'


def prompts(log):
    return [line.split('messages=')[1] for line in log.splitlines() if line.startswith('Prompt')]


class Files(Case):
    def put(self, name, text):
        path = os.path.join(self.folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, 'w', encoding='utf-8') as f:
            f.write(text)
        return path


class Extract(Case):
    BLOCKS = 'Text\\n```python\\nx = 1\\n```\\nmore `a` ``` no\\n  ~~~~ sh extra\\n  ls\\n    -l\\n```\\n  ~~~~\\n```sh\\nlast\\n```\\n'

    def extract(self, text, *args, code=0):
        server = self.serve('accept\n' + answer(text) + 'eof\n')
        done = self.run_ctl('ask', *args, 'hi')
        server.log()
        self.assertEqual(done.returncode, code, done.stderr)
        return done.stdout

    def test_first_block_of_a_language_or_any(self):
        self.assertEqual(self.extract(self.BLOCKS, '-x'), b'x = 1\n')
        self.assertEqual(self.extract(self.BLOCKS, '--extract=py'), b'x = 1\n')
        self.assertEqual(self.extract(self.BLOCKS, '-x=sh'), b'ls\n  -l\n```\n')
        self.assertEqual(self.extract(self.BLOCKS, '-x=bash'), b'ls\n  -l\n```\n')
        self.assertEqual(self.extract('```\\nno name\\n```', '-x=sh'), b'no name\n')
        self.assertEqual(self.extract('```sh\\ncut off', '-x=sh'), b'cut off')

    def test_no_block_is_one(self):
        self.assertEqual(self.extract('```c\\nx\\n```\\n', '-x=sh', code=1), b'')
        self.assertEqual(self.extract('plain', '-x', code=1), b'')

    def test_pieces_of_any_size_give_the_same(self):
        pieces = ''.join(f'say "{c}"\n' for c in ('``', '`', 'sh\\nec', 'ho 1\\n`', '``', '\\n'))
        server = self.serve('accept\nawait Generate\n' + pieces + END + 'eof\n')
        self.check(self.run_ctl('ask', '-x=sh', 'hi'), 0, b'echo 1\n')
        server.log()


class Ends(Case):
    def test_strict_tells_a_cut_answer(self):
        for args, code in ((['--strict'], 7), ([], 0), (['--strict', '--json'], 7)):
            server = self.serve('accept\n' + answer('x', LENGTH) + 'eof\n')
            self.assertEqual(self.run_ctl('ask', *args, 'hi').returncode, code)
            server.log()

    def test_what_no_engine_can_is_refused_by_name(self):
        for option, code in (('--json-schema=x', 8), ('--grammar=x', 8), ('--regex=x', 8), ('--choice=a,b', 8),
                             ('--tools=x', 2), ('--candidates=3', 2)):
            self.check(self.run_ctl('ask', option, 'hi'), code, b'', 'this version cannot')

    def test_faults_are_two(self):
        for args, says in ((['-x', '--json', 'q'], 'exclude each other'), (['-s', 'a', '-c', 'q'], 'exclude each other'),
                           (['--detach', '-s', 'a', 'q'], '--detach prints'), (['--dry-run', '--ndjson', 'q'], 'asks nothing'),
                           (['--raw', '-s', 'a', 'q'], '--raw is no chat'), (['--overflow=map', 'q'], 'refuse, head, tail or middle'),
                           (['-s', '../x', 'q'], 'no name for a session'), (['-t', 'a/b', 'q'], 'no name for a template'),
                           (['-t', 'none', 'q'], 'no template is called'), (['-c', 'q'], 'no session to go on with'),
                           (['--system', '@/nonexistent', 'q'], '/nonexistent: No such file')):
            server = self.serve('accept\neof\n') if '--system' in args else None
            self.check(self.run_ctl('ask', *args), 2, b'', says)
            if server:
                server.log()

    def test_stopped_program_takes_nothing_and_goes_on(self):
        """Beyond its credit the daemon has to wait while the program is stopped; then all of it arrives."""
        server = self.serve('accept\nawait Generate\nsay "first"\nflood 8000 "0123456789abcdef"\n' + END + 'eof\n')
        process = self.start('ask', 'hi')
        self.assertEqual(process.stdout.read(5), b'first')
        process.send_signal(signal.SIGSTOP)  # as Ctrl-Z: nobody handles either
        self.assertIsNone(server.process.poll())
        process.send_signal(signal.SIGCONT)
        self.assertEqual(len(process.stdout.read()), 8000 * 16)
        self.assertEqual(process.wait(timeout=LIMIT_S), 0)
        server.log()


class DryRun(Case):
    SCRIPT = ('accept\nawait Render\nsend Text+end text="<|im_start|>hi"\nawait Tokenize\nsend Tokens+end ids=1,2,3\neof\n')

    def test_prompt_and_its_tokens(self):
        server = self.serve(self.SCRIPT)
        done = self.run_ctl('ask', '--dry-run', 'hi')
        self.check(done, 0, b'<|im_start|>hi', '3 tokens')
        self.assertIn('special=SPECIAL_ALL', server.log())
        server = self.serve(self.SCRIPT)
        self.check(self.run_ctl('ask', '--dry-run', '--json', 'hi'), 0, b'{"prompt":"<|im_start|>hi","tokens":3}\n')
        server.log()
        server = self.serve('accept\nawait Tokenize\nsend Tokens+end ids=1,2\neof\n')
        self.check(self.run_ctl('ask', '--dry-run', '--raw', 'upon'), 0, b'upon', '2 tokens')
        self.assertIn('special=SPECIAL_NONE', server.log())


class Template(Files):
    REVIEW = '---\nthink = off\nmax-tokens = 99\n---\nYou review.\n\n--- question\nReview: {{question}} Thanks.\n'

    def test_template_sets_options_system_and_question(self):
        self.put('.config/qwend/templates/review.txt', self.REVIEW)
        server = self.serve(ANSWER)
        self.check(self.run_ctl('ask', '-t', 'review', 'mind', 'style', stdin=b'diff\n'), 0, b'Hello')
        log = server.log()
        self.assertEqual(prompts(log), ['{ role="system" content="You review."},'
                                        '{ role="user" content="diff\\n\\nReview: mind style Thanks."}'])
        self.assertIn('THINKING_OFF', log)
        self.assertIn('max_tokens=99', log)

    def test_command_line_goes_before_template_before_configuration(self):
        self.put('.config/qwend/templates/review.txt', self.REVIEW)
        self.put('.config/qwend/qwenctl.conf', 'system = C\nmax-tokens = 1\ntemp = 0.5\n')
        server = self.serve(ANSWER)
        self.check(self.run_ctl('ask', '-t', 'review', '--system', 'Mine', 'x'), 0)
        log = server.log()
        self.assertIn('role="system" content="Mine"', log)
        self.assertIn('max_tokens=99', log)
        self.assertIn('temperature=0.5', log)

    def test_parts_may_be_left_out(self):
        for text, wanted in (('@you are', '{ role="system" content="@you are"},{ role="user" content="q"}'),
                             ('--- question\nSay', '{ role="user" content="Say\\n\\nq"}'),
                             ('---\n---\n', '{ role="user" content="q"}')):
            self.put('.config/qwend/templates/t.txt', text)
            server = self.serve(ANSWER)
            self.check(self.run_ctl('ask', '-t', 't', 'q'), 0)
            self.assertEqual(prompts(server.log()), [wanted])

    def test_mistakes_name_file_and_line(self):
        for text, says in (('---\nthink = maybe\n---\nx', 't.txt:2: --think is on, off or auto'),
                           ('---\ntmp = 1\n---\nx', 't.txt:2: unknown key "tmp": did you mean temp?'),
                           ('---\ntemp = 1\n', 'no --- behind them')):
            self.put('.config/qwend/templates/t.txt', text)
            self.check(self.run_ctl('ask', '-t', 't', 'q'), 2, b'', says)

    def test_template_has_a_limit(self):
        path = self.put('.config/qwend/templates/t.txt', 'x' * ((1 << 20) + 1))
        self.check(self.run_ctl('ask', '-t', 't', 'q'), 6, b'', f'{path} has 1048577 bytes')
        self.put('.config/qwend/templates/t.txt', 'x' * (1 << 20))
        server = self.serve(ANSWER)
        self.check(self.run_ctl('ask', '-t', 't', 'q'), 0, b'Hello')
        server.log()

    def test_listed_shown_and_edited(self):
        path = self.put('.config/qwend/templates/review.txt', self.REVIEW)
        self.put('.config/qwend/templates/ignored', '')
        self.check(self.run_ctl('template', 'ls', '-q'), 0, b'review\n')
        self.assertIn(path.encode(), self.run_ctl('template').stdout)
        self.check(self.run_ctl('template', 'show', 'review'), 0, self.REVIEW.encode())
        self.env['EDITOR'] = 'sed -i s/You/We/'
        self.check(self.run_ctl('template', 'edit', 'fresh'), 0)
        self.assertIn(b'We are', self.run_ctl('template', 'show', 'fresh').stdout)
        self.env['VISUAL'] = 'sed -i "s/think = off/think = x/"'
        self.check(self.run_ctl('template', 'edit', 'fresh'), 2, b'', 'fresh.txt:2')
        self.env['VISUAL'] = 'false'
        self.check(self.run_ctl('template', 'edit', 'fresh'), 10, b'', 'false failed')
        self.check(self.run_ctl('template', 'edit', '../x'), 2, b'', 'no name for a template')
        self.check(self.run_ctl('template', 'show', 'nope'), 2, b'', 'no template')


class Session(Files):
    def ask(self, *args, text='A1', end=END, code=0, stdin=b''):
        server = self.serve('accept\n' + answer(text, end) + 'eof\n')
        self.assertEqual(self.run_ctl('ask', *args, stdin=stdin).returncode, code)
        return prompts(server.log())[0]

    def path(self, name):
        return os.path.join(self.folder, f'.local/state/qwend/sessions/{name}.ndjson')

    def test_turns_are_kept_and_sent_again(self):
        self.ask('-s', 'plan', '--system', 'S', 'Q1')
        self.assertEqual(stat.S_IMODE(os.stat(self.path('plan')).st_mode), 0o600)
        self.assertEqual(stat.S_IMODE(os.stat(os.path.dirname(self.path('plan'))).st_mode), 0o700)
        self.assertEqual(self.ask('-s', 'plan', 'Q2', text='A2'),
                         '{ role="system" content="S"},{ role="user" content="Q1"},{ role="assistant" content="A1"},'
                         '{ role="user" content="Q2"}')
        with open(self.path('plan'), encoding='utf-8') as f:
            lines = [json.loads(line) for line in f]
        self.assertEqual([(m['role'], m['content']) for m in lines],
                         [('system', 'S'), ('user', 'Q1'), ('assistant', 'A1'), ('user', 'Q2'), ('assistant', 'A2')])
        self.assertTrue(all(m['at'] > 1e9 for m in lines))
        self.assertIn('content="A2"', self.ask('-c', 'Q3', text='A3'))
        self.assertIn('role="system" content="T"', self.ask('-c', '--system', 'T', 'Q4'))
        self.assertIn('role="system" content="T"', self.ask('-c', 'Q5'))  # the later one stays

    def test_what_did_not_end_is_not_kept(self):
        self.ask('-s', 'plan', 'Q1', end='send Error+end code=501 text="x"\n', code=10)
        self.ask('-s', 'plan', 'Q1', end='send Usage+end finish=FINISH_CANCEL\n', code=10)
        self.assertFalse(os.path.exists(self.path('plan')))
        self.ask('-s', 'plan', '--strict', 'Q1', end=LENGTH, code=7)  # cut off, yet an answer
        self.assertTrue(os.path.exists(self.path('plan')))

    def test_json_and_extract_keep_the_whole_answer(self):
        self.ask('-s', 'a', '--json', 'Q1', text='full')
        self.ask('-s', 'a', '-x', 'Q2', text='see\\n```\\nx\\n```\\n')
        shown = json.loads(self.run_ctl('session', 'export', 'a').stdout)['messages']
        self.assertEqual([m['content'] for m in shown], ['Q1', 'full', 'Q2', 'see\n```\nx\n```\n'])

    def test_bytes_that_no_prompt_may_hold_are_left_out(self):
        self.ask('-s', 'a', 'Q1', text='x\\x00y')
        self.assertIn('content="xy"', self.ask('-s', 'a', 'Q2'))

    def test_half_a_line_is_dropped(self):
        self.ask('-s', 'a', 'Q1')
        with open(self.path('a'), 'a', encoding='utf-8') as f:
            f.write('{"role":"user","cont')
        self.assertEqual(self.ask('-s', 'a', 'Q2').count('content='), 3)
        with open(self.path('a'), encoding='utf-8') as f:
            self.assertEqual(len([json.loads(line) for line in f]), 4)

    def test_damage_is_said_with_its_line(self):
        for line, says in (('nonsense', 'a.ndjson:1: not a message'), ('{"role":"user"}', 'a.ndjson:1: a message has'),
                           ('{"role":"user","role":"x","content":""}', 'not a message: duplicate')):
            self.put('.local/state/qwend/sessions/a.ndjson', line + '\n')
            self.check(self.run_ctl('ask', '-s', 'a', 'q'), 2, b'', says)

    def test_session_has_a_limit(self):
        self.put('.local/state/qwend/sessions/a.ndjson', ' ' * (16 << 20) + '\n')
        self.check(self.run_ctl('ask', '-s', 'a', 'q'), 6, b'', 'more than 16 MiB')
        self.put('.local/state/qwend/sessions/a.ndjson', '{"role":"note","content":"%s"}\n' % ('x' * ((16 << 20) - 60)))
        server = self.serve(ANSWER)
        self.check(self.run_ctl('ask', '-s', 'a', 'q'), 10, b'Hello', 'the turn is not kept: File too large')
        server.log()

    def test_listed_shown_forked_removed(self):
        self.check(self.run_ctl('session'), 0, b'')
        self.ask('-s', 'one', 'What is\nthis?')
        self.ask('-s', 'two', 'Q')
        os.utime(self.path('one'), (1, 1))
        self.check(self.run_ctl('session', 'ls', '-q'), 0, b'two\none\n')
        self.assertRegex(self.run_ctl('session', 'ls').stdout.decode(), r'(?m)^one +19\d\d-\d\d-\d\d \d\d:\d\d +1 turns  What is$')
        listed = json.loads(self.run_ctl('session', 'ls', '--json').stdout)['sessions']
        self.assertEqual([(s['name'], s['turns'], s['title']) for s in listed], [('two', 1, 'Q'), ('one', 1, 'What is')])
        self.check(self.run_ctl('session', 'show', 'one'), 0, b'## Question\n\nWhat is\nthis?\n\n## Answer\n\nA1\n')
        self.check(self.run_ctl('session', 'path', 'one'), 0, self.path('one').encode() + b'\n')
        self.check(self.run_ctl('session', 'fork', 'one', 'three'), 0)
        self.check(self.run_ctl('session', 'fork', 'one', 'two'), 2, b'', 'already')
        self.assertEqual(self.ask('-s', 'three', 'Q2').count('content='), 3)
        self.check(self.run_ctl('session', 'rm', 'one', 'two'), 0)
        self.check(self.run_ctl('session', 'ls', '-q'), 0, b'three\n')
        for args, says in ((['show', 'one'], 'no session is called one'), (['rm', 'one'], 'no session'), (['rm'], 'takes ls'),
                           (['show', '../x'], 'no name for a session'), (['fork', 'three'], 'takes ls')):
            self.check(self.run_ctl('session', *args), 2, b'', says)

    def test_two_at_once_keep_both(self):
        server = self.serve('accept\n' + answer('A0') + 'eof\n')
        self.check(self.run_ctl('ask', '-s', 'a', 'Q0'), 0)
        server.log()
        processes = []
        for i in (1, 2):
            socket = os.path.join(self.folder, str(i))
            os.mkdir(socket)
            self.folder, folder = socket, self.folder
            server = self.serve('accept\n' + answer(f'A{i}') + 'eof\n')
            self.folder = folder
            processes.append((server, self.start('ask', '--socket', os.path.join(socket, 'sock'), '-s', 'a', f'Q{i}')))
        for server, process in processes:
            process.communicate(timeout=LIMIT_S)
            server.log()
        messages = json.loads(self.run_ctl('session', 'export', 'a').stdout)['messages']
        self.assertEqual(len(messages), 6)
        for i in (0, 2, 4):  # no turn is torn by the other
            self.assertEqual(messages[i]['content'][1:], messages[i + 1]['content'][1:])


class ChatKeeps(Files):
    def test_session_file_and_save(self):
        self.put('notes', 'text')
        path = self.put('more.txt', 'text 2\n')
        server = self.serve('accept\n' + answer('A1') + answer('A2') + 'eof\n')
        self.check(self.run_ctl('chat', '-s', 'talk', '--system', 'S',
                                stdin=f'/file {self.folder}/notes\n/file {path}\nQ1\nQ2\n'.encode()), 0, b'A1\nA2\n')
        self.assertEqual(prompts(server.log())[0], '{ role="system" content="S"},{ role="user" content="'
                         f'{self.folder}/notes:\\ntext\\n\\n{path}:\\ntext 2\\n\\nQ1"}}')
        messages = json.loads(self.run_ctl('session', 'export', 'talk').stdout)['messages']
        self.assertEqual([m['content'] for m in messages if m['role'] != 'user'], ['S', 'A1', 'A2'])
        server = self.serve('accept\n' + answer('A3') + answer('A4') + 'eof\n')
        self.check(self.run_ctl('chat', stdin=b'/session talk\nQ3\n/save other\n/system T\nQ4\n/save talk\n'), 2, b'A3\nA4\n',
                   'already')
        server.log()
        self.assertEqual(len(json.loads(self.run_ctl('session', 'export', 'other').stdout)['messages']), 9)
        self.check(self.run_ctl('chat', '-s', 'a/b', stdin=b''), 2, b'', 'no name for a session')
        self.check(self.run_ctl('chat', '-s', 'a', '-c', stdin=b''), 2, b'', 'exclude each other')

    def test_what_is_undone_is_undone_for_later(self):
        server = self.serve('accept\n' + answer('A1') + answer('A2') + answer('A3') + 'eof\n')
        self.check(self.run_ctl('chat', '-s', 'talk', stdin=b'Q1\nQ2\n/undo\nQ3\n'), 0, b'A1\nA2\nA3\n')
        server.log()
        shown = json.loads(self.run_ctl('session', 'export', 'talk').stdout)['messages']
        self.assertEqual([m['content'] for m in shown], ['Q1', 'A1', 'Q3', 'A3'])
        server = self.serve('accept\n' + answer('A4') + 'eof\n')
        self.check(self.run_ctl('chat', '-c', stdin=b'/clear\n/undo\nQ4\n'), 0, b'A4\n')
        server.log()
        shown = json.loads(self.run_ctl('session', 'export', 'talk').stdout)['messages']
        self.assertEqual([m['content'] for m in shown], ['Q4', 'A4'])

    def test_missing_file_is_said(self):
        server = self.serve('accept\neof\n')
        self.check(self.run_ctl('chat', stdin=b'/file /nonexistent\n'), 2, b'', '/nonexistent: No such file')
        server.log()


class Markdown(Files):
    def shown(self, text, *args):
        server = self.serve('accept\n' + answer(text) + 'eof\n')
        terminal = self.terminal('ask', *args, 'hi')
        self.assertEqual(terminal.end(), 0)
        server.log()
        return terminal.seen.decode()

    @unittest.skipUnless(b'libmd4c' in subprocess.run(['ldd', QWENCTL], capture_output=True, check=True).stdout, 'built without md4c')
    def test_terminal_shows_it_laid_out(self):
        seen = self.shown('# Head\\n\\nA **b** `c`.\\n\\n```sh\\nls\\n```\\n')
        self.assertRegex(seen, r'\x1b\[0;1;4mHead\x1b\[0m\r\n\r\n')
        self.assertIn('A \x1b[0;1mb\x1b[0m \x1b[0;36mc\x1b[0m.\r\n', seen)
        self.assertIn('\x1b[36mls\x1b[0m\r\n', seen)

    def test_sequences_in_it_are_harmless(self):
        for text in ('**\\x1b[2J**', '`\\x1b]0;x\\x07`', '```\\n\\x1b[2J\\n```\\n', '| a\\x1b[3J |\\n|---|\\n', '[x](\\x1b[2J)'):
            seen = self.shown(text)
            self.assertFalse(re.search(r'\x1b(?!\[[0-9;]*[mAJ])|\x1b\[[23]J|\x07', seen), seen)

    def test_stopped_answer_leaves_nothing_for_the_next(self):
        server = self.serve('accept\nawait Generate\nsay "**half"\nawait Cancel\n' + answer('whole') + 'eof\n')
        terminal = self.terminal('chat')
        terminal.until(b'> ')
        terminal.type(b'Q1\n')
        terminal.until(b'**half')
        terminal.type(b'\x03')  # the daemon says nothing more of it
        terminal.until(b'(stopped)\r\n')
        terminal.until(b'> ')
        terminal.type(b'Q2\n')
        terminal.until(b'whole')
        terminal.until(b'> ')
        self.assertEqual(terminal.seen.count(b'half'), 1)
        terminal.type(b'\x04')
        self.assertEqual(terminal.end(), 0)
        server.log()

    def test_pipe_raw_and_no_colour_get_the_bytes(self):
        for args in (['--color=never'], ['--raw']):
            self.assertEqual(self.shown('a **b**', *args), 'a **b**\r\n')
        self.serve('accept\n' + answer('a **b**') + 'eof\n')
        self.check(self.run_ctl('ask', '--color=always', 'hi'), 0, b'a **b**')


if __name__ == '__main__':
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
