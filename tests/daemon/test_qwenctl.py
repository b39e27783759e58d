"""qwenctl as a program against the scripted server: streams, terminals, signals, pipes, exit codes.

usage: test_qwenctl.py QWENCTL FAKE_SERVER [unittest options]
"""
import fcntl
import json
import os
import pty
import select
import signal
import stat
import struct
import subprocess
import sys
import tempfile
import termios
import unittest

QWENCTL, FAKE_SERVER = map(os.path.abspath, sys.argv[1:3])
END = 'send Usage+end prompt_tokens=3 answer_tokens=2 finish=FINISH_STOP decode_ms=10 seed=18446744073709551615\n'
ANSWER = 'accept\nawait Generate\nsay "Hello"\n' + END + 'eof\n'
LIMIT_S = 20  # no step of these tests takes a second: longer is a hang
TEST_LIMIT_S = 100  # and of a whole test, which a terminal on which something turns for ever would not end


def too_long(*_):
    raise AssertionError(f'the test has not ended after {TEST_LIMIT_S} s')


signal.signal(signal.SIGALRM, too_long)


class Server:
    """The scripted server; log() is what it received, once its script ended."""

    def __init__(self, folder, script):
        self.path = os.path.join(folder, 'sock')
        script_path = os.path.join(folder, 'script')
        with open(script_path, 'w') as f:
            f.write(script)
        self.process = subprocess.Popen([FAKE_SERVER, self.path, script_path], stdout=subprocess.PIPE)
        assert self.process.stdout.readline() == b'ready\n'

    def wait_for(self, text):
        """Reads the log until a line holds the text."""
        for line in self.process.stdout:
            if text.encode() in line:
                return
        raise AssertionError(f'the server never received {text}')

    def log(self):
        out, _ = self.process.communicate(timeout=LIMIT_S)
        os.unlink(self.path)
        if self.process.returncode:
            raise AssertionError('the script was not followed: ' + out.decode(errors='replace'))
        return out.decode(errors='replace')


class Terminal:
    """A program whose stdin, stdout and stderr are a terminal, as far as it is not told otherwise."""

    def __init__(self, argv, env, size=(24, 80), **streams):
        self.fd, child = pty.openpty()
        self.resize(*size)
        self.seen = b''
        self.mark = 0
        attributes = termios.tcgetattr(child)
        attributes[3] &= ~termios.ECHO
        termios.tcsetattr(child, termios.TCSANOW, attributes)
        files = {name: streams.get(name, child) for name in ('stdin', 'stdout', 'stderr')}
        self.process = subprocess.Popen(argv, env=env, start_new_session=True, preexec_fn=self.take_terminal(child), **files)
        os.close(child)

    def resize(self, rows, columns):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack('4H', rows, columns, 0, 0))

    @staticmethod
    def take_terminal(child):
        def take():
            fcntl.ioctl(child, termios.TIOCSCTTY, 0)
        return take

    def read(self):
        ready, _, _ = select.select([self.fd], [], [], LIMIT_S)
        if not ready:
            raise AssertionError(f'nothing more on the terminal after {self.seen!r}')
        try:
            data = os.read(self.fd, 65536)
        except OSError:  # EIO: the last program on it is gone
            data = b''
        self.seen += data
        return data

    def until(self, text):
        """Reads until the text stands behind what the last call waited for."""
        while text not in self.seen[self.mark:]:
            if not self.read():
                raise AssertionError(f'{text!r} never came, only {self.seen!r}')
        self.mark = self.seen.index(text, self.mark) + len(text)

    def type(self, text):
        os.write(self.fd, text)

    def end(self):
        while self.read():
            pass
        code = self.process.wait(timeout=LIMIT_S)
        os.close(self.fd)
        return code


class Case(unittest.TestCase):
    def setUp(self):
        signal.alarm(TEST_LIMIT_S)
        self.addCleanup(signal.alarm, 0)
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.env = {'PATH': os.environ['PATH'], 'HOME': self.folder, 'TERM': 'xterm', 'LC_ALL': 'C.UTF-8',
                    'QWEND_SOCKET': os.path.join(self.folder, 'sock')}
        for name in ('ASAN_OPTIONS', 'UBSAN_OPTIONS', 'LD_LIBRARY_PATH'):
            if name in os.environ:
                self.env[name] = os.environ[name]

    def serve(self, script):
        server = Server(self.folder, script)
        self.addCleanup(self.finish, server.process)
        return server

    @staticmethod
    def finish(process):
        """Nothing is left running, whatever a test did."""
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream:
                stream.close()

    def run_ctl(self, *args, stdin=b'', **more):
        return subprocess.run([QWENCTL, *args], input=stdin, capture_output=True, env=self.env, timeout=LIMIT_S, **more)

    def start(self, *args, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE):
        process = subprocess.Popen([QWENCTL, *args], stdin=stdin, stdout=stdout, stderr=subprocess.PIPE, env=self.env)
        self.addCleanup(self.finish, process)
        return process

    def terminal(self, *args, **streams):
        terminal = Terminal([QWENCTL, *args], self.env, **streams)
        self.addCleanup(self.finish, terminal.process)
        return terminal

    def check(self, done, code, out=None, err=None):
        self.assertEqual(done.returncode, code, done.stderr)
        if out is not None:
            self.assertEqual(done.stdout, out)
        if err is not None:
            self.assertIn(err, done.stderr.decode())


class Ask(Case):
    def test_pipe_carries_the_answer_and_nothing_else(self):
        server = self.serve('accept\nawait Generate\nsend Accepted position=3\nthink "hm"\nsay "Hel\\x1b[1mlo"\n' + END + 'eof\n')
        self.check(self.run_ctl('ask', 'hi', 'there'), 0, b'Hel\x1b[1mlo')
        self.assertIn('content="hi there"', server.log())

    def test_nothing_is_said_on_stderr_of_a_pipe(self):
        self.serve('accept\nawait Generate\nsend Accepted position=3\nsend Event kind=ENGINE_RESTART\nsay "x"\n'
                   'send Usage+end finish=FINISH_LENGTH warnings="w"\neof\n')
        self.assertEqual(self.run_ctl('ask', 'hi').stderr, b'')

    def test_verbose_says_everything(self):
        self.serve('accept\nawait Generate\nsend Accepted loading=true load_permille=420\nsend Accepted position=1\n'
                   'send Accepted position=0 prompt_tokens=9 cached_tokens=4\nsend Event kind=ENGINE_RESTART\n'
                   'send Event kind=PREEMPTED\nsend Event kind=RESUMED from_token=7\nsay "x"\n'
                   'send Usage+end finish=FINISH_LENGTH answer_tokens=5 warnings="w1"\neof\n')
        done = self.run_ctl('ask', '-v', '-n', '5', 'hi')
        self.check(done, 0, b'x')
        for text in ('loaded, 42 %', 'number 1 in the queue', 'reading 9 tokens, 4', 'engine restarted',
                     'interactive request goes first', 'after token 7', 'warning: w1', 'cut off after 5 tokens: --max-tokens'):
            self.assertIn(text, done.stderr.decode())

    def test_document_comes_before_the_question(self):
        server = self.serve(ANSWER)
        self.check(self.run_ctl('ask', 'why?', stdin=b'log line\n'), 0, b'Hello')
        self.assertIn('content="log line\\n\\nwhy?"', server.log())

    def test_stdin_alone_is_the_question(self):
        server = self.serve(ANSWER)
        self.check(self.run_ctl('ask', stdin=b'why?'), 0, b'Hello')
        self.assertIn('content="why?"', server.log())

    def test_files_are_named_and_in_order(self):
        server = self.serve(ANSWER)
        for name in ('a', 'b'):
            with open(os.path.join(self.folder, name), 'w') as f:
                f.write(f'text {name}')
        self.check(self.run_ctl('ask', '-f', 'a', '-f', '-', '-f', 'b', 'why?', stdin=b'in\n\n', cwd=self.folder), 0)
        self.assertIn('content="a:\\ntext a\\n\\nin\\n\\nb:\\ntext b\\n\\nwhy?"', server.log())

    def test_raw_is_joined_as_it_stands(self):
        server = self.serve(ANSWER)
        self.check(self.run_ctl('ask', '--raw', '--special', 'upon', stdin=b'once\n'), 0)
        self.assertIn('raw="once\\nupon" raw_special=SPECIAL_ALL', server.log())

    def test_options_reach_the_daemon(self):
        server = self.serve(ANSWER)
        self.check(self.run_ctl('ask', '--system', 'S', '--no-think', '-n7', '--temp=0', '--top-p', '0.5', '--top-k', '3',
                                '--min-p', '0.25', '--repeat-penalty', '1.5', '--presence-penalty', '-2',
                                '--frequency-penalty', '1', '--seed', '18446744073709551615', '--stop', 'A', '--stop', 'B',
                                '--priority', 'interactive', 'hi'), 0)
        log = server.log()
        for text in ('role="system" content="S"', 'THINKING_OFF', 'max_tokens=7', 'temperature=0 top_k=3 top_p=0.5 min_p=0.25',
                     'repeat_penalty=1.5 presence_penalty=-2 frequency_penalty=1', 'seed=18446744073709551615',
                     'stop="A","B"', 'PRIORITY_INTERACTIVE'):
            self.assertIn(text, log)

    def test_quoted_question_needs_no_verb(self):
        server = self.serve(ANSWER)
        self.check(self.run_ctl('two words', '-q'), 0, b'Hello')
        self.assertIn('content="two words"', server.log())

    def test_show_thinking_on_stdout_and_stderr(self):
        script = 'accept\nawait Generate\nthink "hm"\nsay "x"\n' + END + 'eof\n'
        self.serve(script)
        self.check(self.run_ctl('ask', '--show-thinking=stdout', 'hi'), 0, b'hm\n\nx')
        os.unlink(self.env['QWEND_SOCKET'])
        self.serve(script)
        done = self.run_ctl('ask', '--show-thinking=stderr', 'hi')
        self.check(done, 0, b'x')
        self.assertEqual(done.stderr, b'hm\n\n')

    def test_usage_is_one_line(self):
        self.serve(ANSWER)
        done = self.run_ctl('ask', '--usage', 'hi')
        self.assertRegex(done.stderr.decode(), r'^prompt 3 \(cached 0\), reasoning 0, answer 2 tokens; .* 100\.0 tokens/s\n$')

    def test_long_prompt_arrives_whole(self):
        server = self.serve(ANSWER)
        self.check(self.run_ctl('ask', 'why?', stdin=b'x' * 3000000), 0)
        self.assertIn('Prompt sealed-memfd bytes=3000022', server.log())


class Json(Case):
    SCRIPT = ('accept\nawait Generate\nsend Accepted position=2\nsend Accepted position=0 prompt_tokens=3 cached_tokens=1\n'
              'think "hm"\nsend Event kind=ENGINE_RESTART\nsend Event kind=RESUMED from_token=1\n'
              'send Delta channel=CHANNEL_ANSWER text="H\\"i" logprobs={id=5 logprob=-0.5 text="H" '
              'top={id=5 logprob=-0.5 text="H"},{id=6 logprob=-1 text="\\xff"}}\n'
              'say "\\x1b!"\nsend Event kind=PREEMPTED\n'
              'send Usage+end prompt_tokens=3 cached_tokens=1 reasoning_tokens=1 answer_tokens=2 queue_ms=1.5 '
              'prefill_ms=2 decode_ms=10 finish=FINISH_STOP stop="S" seed=18446744073709551615 backend="cpu" '
              'warnings="w" replays=1 preemptions=2\neof\n')

    def test_ndjson_has_an_object_for_each_event(self):
        self.serve(self.SCRIPT)
        done = self.run_ctl('ask', '--ndjson', '--logprobs', '1', '--seed', '7', 'hi')
        self.check(done, 0)
        events = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual([e['e'] for e in events],
                         ['start', 'queue', 'read', 'think', 'restart', 'resume', 'text', 'text', 'preempt', 'end'])
        self.assertEqual(events[0]['model'], 'tiny')
        self.assertEqual(events[0]['seed'], '7')
        self.assertRegex(events[0]['id'], '^[0-9a-f]{32}$')
        self.assertEqual(events[1]['pos'], 2)
        self.assertEqual((events[2]['prompt'], events[2]['cached']), (3, 1))
        self.assertEqual(events[3]['t'], 'hm')
        self.assertEqual(events[5]['from_token'], 1)
        self.assertEqual(events[6]['t'], 'H"i')
        self.assertEqual(events[6]['logprobs'][0]['top'][1], {'id': 6, 'logprob': -1.0, 't': '\ufffd', 'bytes': [255]})
        self.assertEqual(events[7]['t'], '\x1b!')
        end = events[9]
        self.assertEqual(end['id'], events[0]['id'])
        self.assertEqual(end['finish'], 'stop')
        self.assertEqual(end['stop'], 'S')
        self.assertEqual(end['usage'], {'prompt': 3, 'cached': 1, 'think': 1, 'output': 2})
        self.assertEqual(end['timing']['tok_s'], 200.0)
        self.assertEqual(end['seed'], '18446744073709551615')
        self.assertEqual(end['warnings'], ['w'])
        self.assertEqual((end['replays'], end['preemptions']), (1, 2))

    def test_json_is_one_object_with_the_text(self):
        self.serve(self.SCRIPT)
        done = self.run_ctl('ask', '--json', '--logprobs', '1', 'hi')
        self.check(done, 0)
        self.assertEqual(done.stdout.count(b'\n'), 1)
        whole = json.loads(done.stdout)
        self.assertEqual((whole['e'], whole['text'], whole['thinking']), ('end', 'H"i\x1b!', 'hm'))
        self.assertEqual(whole['logprobs'][0]['id'], 5)

    def test_refusal_is_an_object_too(self):
        for option in ('--json', '--ndjson'):
            self.serve('accept\nawait Generate\nsend Error+end code=401 text="queue full" retry_after_ms=1500 '
                       'details={key="queued" value="9"}\neof\n')
            done = self.run_ctl('ask', option, 'hi')
            self.check(done, 5, err='queue full')
            error = json.loads(done.stdout.splitlines()[-1])
            self.assertEqual((error['e'], error['code'], error['name']), ('error', 401, 'QUEUE_FULL'))
            self.assertEqual((error['retry_after_ms'], error['details']), (1500, {'queued': '9'}))
            os.unlink(self.env['QWEND_SOCKET'])

    def test_lost_daemon_is_an_error_event(self):
        self.serve('accept\nawait Generate\nsay "half"\nclose\n')
        done = self.run_ctl('ask', '--ndjson', 'hi')
        self.check(done, 3, err='closed the connection')
        self.assertEqual(json.loads(done.stdout.splitlines()[-1])['e'], 'error')


class Codes(Case):
    def test_every_refusal_has_its_code(self):
        for status, code in ((201, 2), (202, 6), (203, 8), (302, 4), (404, 5), (402, 9), (501, 10)):
            self.serve(f'accept\nawait Generate\nsend Error+end code={status} text="because" '
                       'details={key="prompt_tokens" value="9120"},{key="context" value="8192"} retry_after_ms=1500\neof\n')
            done = self.run_ctl('ask', 'hi')
            self.check(done, code, b'', 'refused: because (')
            self.assertIn(f'{status}; prompt_tokens 9120, context 8192); try again in 1.5 s', done.stderr.decode())
            os.unlink(self.env['QWEND_SOCKET'])

    def test_no_daemon_says_which_socket_and_how_to_start(self):
        done = self.run_ctl('ask', 'hi')
        self.check(done, 3, b'', self.env['QWEND_SOCKET'])
        self.assertIn('systemctl start qwend.socket', done.stderr.decode())

    def test_socket_option_beats_the_environment(self):
        self.check(self.run_ctl('status', '--socket', '/nonexistent/s'), 3, b'', '/nonexistent/s')

    def test_daemon_that_goes_away_is_three(self):
        self.serve('accept\nawait Generate\nsay "half"\nclose\n')
        self.check(self.run_ctl('ask', 'hi'), 3, b'half', 'closed the connection')

    def test_refused_connection_has_its_code(self):
        self.serve('connect\nraw 515750310d0a0000\nraw 0d0000000000000003000000\nraw 08ae021208746f6f206d616e79\nclose\n')
        self.check(self.run_ctl('status'), 4, b'', 'too many (CONCURRENCY 302)')

    def test_cancelled_by_somebody_else_is_ten(self):
        self.serve('accept\nawait Generate\nsay "x"\nsend Usage+end finish=FINISH_CANCEL\neof\n')
        self.check(self.run_ctl('ask', 'hi'), 10, b'x', 'somebody else')

    def test_deadlines_are_nine(self):
        self.serve('accept\nawait Generate\nsend Usage+end finish=FINISH_DEADLINE\neof\n')
        self.check(self.run_ctl('ask', 'hi'), 9)
        os.unlink(self.env['QWEND_SOCKET'])
        server = self.serve('accept\nawait Generate\nsend Error+end code=402 text="too late" retry_after_ms=2000\neof\n')
        self.check(self.run_ctl('ask', '--deadline', '1.5s', 'hi'), 9, b'', 'try again in 2.0 s')
        self.assertIn('deadline_ms=1500', server.log())
        server = self.serve('accept\nawait Generate\nawait Cancel\neof\n')
        self.check(self.run_ctl('ask', '--timeout', '50ms', 'hi'), 9, b'', '--timeout of 50 ms')
        server.log()
        server = self.serve('accept\nawait Status\neof\n')
        self.check(self.run_ctl('status', '--timeout', '50ms'), 9, b'', 'within 50 ms')

    def test_usage_faults_are_two(self):
        for args, says in ((['ask', '--temp', 'x', 'hi'], '--temp needs a number'),
                           (['aks'], 'did you mean ask'),
                           (['hello'], 'qwenctl ask hello'),
                           (['ask', '--sytem', 'x'], 'did you mean --system'),
                           (['status', '-n5'], 'status has no option --max-tokens'),
                           (['status', 'x'], 'one argument too many'),
                           (['ask', '--json', '--ndjson', 'x'], 'exclude each other'),
                           (['ask', '--raw', '--think', 'x'], '--raw is no chat'),
                           (['ask', '--logprobs', '2', 'x'], '--logprobs shows in'),
                           (['ask', '--special', 'x'], '--special goes with --raw'),
                           (['ask', '--stop', '', 'x'], '--stop needs some text'),
                           (['ask', b'caf\xe9'], 'command line is not UTF-8: 0xe9 at byte 3'),
                           (['cancel'], 'either an id or --mine'),
                           (['cancel', 'zz'], 'no request id'),
                           (['help', 'xyz'], 'no verb and no topic'),
                           ([], 'what shall it do')):
            server = self.serve('accept\neof\n') if '--stop' in args else None
            self.check(self.run_ctl(*args), 2, b'', says)
            if server:
                server.log()

    def test_input_that_is_not_text_is_two(self):
        for stdin, says in ((b'ab\ncaf\xe9\n', 'standard input is not UTF-8: 0xe9 at byte 6 (line 2)'),
                            (b'a\0b', 'NUL at byte 1'), (b'', 'standard input is empty')):
            server = self.serve('accept\neof\n')
            self.check(self.run_ctl('ask', stdin=stdin), 2, b'', says)
            server.log()

    def test_missing_file_is_two(self):
        self.serve('accept\neof\n')
        self.check(self.run_ctl('ask', '-f', '/nonexistent/f', 'x'), 2, b'', '/nonexistent/f: No such file')

    def test_input_above_the_limit_is_six_with_numbers(self):
        server = self.serve('accept limits={body_bytes=1000}\neof\n')
        self.check(self.run_ctl('ask', 'x', stdin=b'y' * 2000), 6, b'', 'more than 1000 bytes')
        server.log()
        path = os.path.join(self.folder, 'big')
        with open(path, 'wb') as f:
            f.write(b'y' * 2000)
        server = self.serve('accept limits={body_bytes=1000}\neof\n')
        self.check(self.run_ctl('ask', '-f', path, 'x'), 6, b'', 'has 2000 bytes, a prompt may have 1000')
        server.log()
        self.serve('accept limits={body_bytes=1000}\neof\n')
        self.check(self.run_ctl('ask', 'x', stdin=b'y' * 995), 6, b'', 'the daemon takes at most 1000')

    def test_full_disk_is_said(self):
        self.serve(ANSWER)
        with open('/dev/full', 'wb') as full:
            process = self.start('ask', 'hi', stdout=full)
            _, err = process.communicate(timeout=LIMIT_S)
        self.assertEqual(process.returncode, 10)
        self.assertIn(b'No space left', err)

    def run_without(self, redirection):
        self.serve(ANSWER)
        return subprocess.run(['sh', '-c', 'exec "$0" ask hi ' + redirection, QWENCTL], stdin=subprocess.DEVNULL,
                              capture_output=True, env=self.env, timeout=LIMIT_S, check=False)

    def test_closed_stdin_is_empty(self):
        self.check(self.run_without('<&-'), 0, b'Hello')

    def test_closed_stdout_is_an_error(self):
        self.check(self.run_without('>&-'), 10, b'', 'writing to standard output: Bad file descriptor')

    def test_closed_stderr_does_not_matter(self):
        self.check(self.run_without('2>&-'), 0, b'Hello')


class Signals(Case):
    FLOOD = 'accept\nawait Generate\nuntil Cancel "0123456789\\n"\nsend Usage+end finish=FINISH_CANCEL answer_tokens=4\neof\n'

    def test_interrupt_cancels_and_waits_for_usage(self):
        server = self.serve('accept\nawait Generate\nsay "x"\nawait Cancel\nsend Usage+end finish=FINISH_CANCEL answer_tokens=1\neof\n')
        process = self.start('ask', '--usage', 'hi')
        self.assertEqual(process.stdout.read(1), b'x')
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=LIMIT_S)
        self.assertEqual(process.returncode, 130)
        self.assertIn(b'answer 1 tokens', err)
        self.assertIn('Cancel stream=1', server.log())

    def test_interrupt_does_not_wait_long_for_a_silent_daemon(self):
        server = self.serve('accept\nawait Generate\nsay "x"\nawait Cancel\neof\n')
        process = self.start('ask', 'hi')
        process.stdout.read(1)
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(timeout=LIMIT_S), 130)
        server.log()

    def test_second_interrupt_ends_at_once(self):
        server = self.serve('accept\nawait Generate\nsay "x"\nawait Cancel\neof\n')
        process = self.start('ask', 'hi')
        process.stdout.read(1)
        process.send_signal(signal.SIGINT)
        server.wait_for('Cancel')
        process.send_signal(signal.SIGINT)
        self.assertIn(process.wait(timeout=LIMIT_S), (130, -signal.SIGINT))
        server.log()

    def test_terminate_is_143(self):
        server = self.serve(self.FLOOD)
        process = self.start('ask', 'hi')
        process.stdout.read(1)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=LIMIT_S)
        self.assertEqual(process.returncode, 143)
        self.assertIn('Cancel', server.log())

    def test_interrupt_while_stdout_is_full(self):
        """A pipe that takes nothing and that nobody reads: the program waits to write, and still hears the signal."""
        server = self.serve(self.FLOOD)
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        with self.assertRaises(BlockingIOError):
            while True:
                os.write(writer, b'x' * 4096)
        os.set_blocking(writer, True)
        process = self.start('ask', 'hi', stdout=writer)
        server.wait_for('Generate')
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(timeout=LIMIT_S), 130)
        os.close(reader)
        os.close(writer)
        server.log()

    def test_interrupt_while_reading_stdin(self):
        server = self.serve('accept\neof\n')
        process = self.start('ask', 'hi', stdin=subprocess.PIPE)
        server.wait_for('Hello')
        process.send_signal(signal.SIGINT)
        self.assertIn(process.wait(timeout=LIMIT_S), (130, -signal.SIGINT))  # -SIGINT: before it listened
        server.log()

    def test_reader_that_leaves_frees_the_daemon(self):
        server = self.serve('accept\nawait Generate\nuntil Cancel "0123456789\\n"\neof\n')
        process = self.start('ask', 'hi')
        process.stdout.read(3)
        process.stdout.close()
        self.assertEqual(process.wait(timeout=LIMIT_S), 141)
        self.assertEqual(process.stderr.read(), b'')
        self.assertIn('Cancel', server.log())

    def test_reader_that_leaves_is_noticed_while_the_model_is_silent(self):
        server = self.serve('accept\nawait Generate\nsay "x"\nawait Cancel\neof\n')
        process = self.start('ask', 'hi')
        process.stdout.read(1)
        process.stdout.close()
        self.assertEqual(process.wait(timeout=LIMIT_S), 141)
        server.log()


class OnTerminal(Case):
    THINKING = 'accept\nawait Generate\nthink "hm"\nsay "Hello"\n' + END + 'eof\n'

    def test_reasoning_is_dim_and_the_answer_ends_its_line(self):
        self.serve(self.THINKING)
        terminal = self.terminal('ask', 'hi')
        self.assertEqual(terminal.end(), 0)
        self.assertEqual(terminal.seen, b'\x1b[2mhm\x1b[0m\r\n\r\nHello\r\n')

    def test_no_colour_where_none_is_wanted(self):
        for name, value, options in (('NO_COLOR', '1', []), ('TERM', 'dumb', []), ('TERM', 'xterm', ['--color=never'])):
            old = self.env.get(name)
            self.env[name] = value
            self.serve(self.THINKING)
            terminal = self.terminal('ask', *options, 'hi')
            self.assertEqual(terminal.end(), 0)
            self.assertEqual(terminal.seen, b'hm\r\n\r\nHello\r\n')
            os.unlink(self.env['QWEND_SOCKET'])
            if old is None:
                del self.env[name]
            else:
                self.env[name] = old

    def test_quiet_hides_the_reasoning(self):
        self.serve(self.THINKING)
        terminal = self.terminal('ask', '-q', 'hi')
        self.assertEqual(terminal.end(), 0)
        self.assertEqual(terminal.seen, b'Hello\r\n')

    def test_newline_is_not_doubled(self):
        self.serve('accept\nawait Generate\nsay "Hello\\n"\n' + END + 'eof\n')
        terminal = self.terminal('ask', 'hi')
        self.assertEqual(terminal.end(), 0)
        self.assertEqual(terminal.seen, b'Hello\r\n')

    def test_escape_sequences_are_shown_not_obeyed(self):
        self.serve('accept\nawait Generate\nthink "\\x1b[2J"\nsay "\\x1b]0;evil\\x07\\xc2\\x9b"\n' + END + 'eof\n')
        terminal = self.terminal('ask', '--color=never', 'hi')
        self.assertEqual(terminal.end(), 0)
        self.assertNotIn(b'\x1b', terminal.seen)
        self.assertIn(b'^[[2J', terminal.seen)
        self.assertIn('^[]0;evil^G\ufffd'.encode(), terminal.seen)

    def test_daemon_text_is_shown_not_obeyed(self):
        self.serve('accept\nawait Generate\nsend Error+end code=201 text="a\\x1b[2Jb"\neof\n')
        terminal = self.terminal('ask', 'hi')
        self.assertEqual(terminal.end(), 2)
        self.assertNotIn(b'\x1b', terminal.seen)

    def test_reasoning_stays_out_of_a_pipe(self):
        self.serve(self.THINKING)
        terminal = self.terminal('ask', 'hi', stdout=subprocess.PIPE)
        out = terminal.process.stdout.read()
        terminal.process.stdout.close()
        self.assertEqual(terminal.end(), 0)
        self.assertEqual((out, terminal.seen), (b'Hello', b''))

    def test_control_c_cancels(self):
        server = self.serve('accept\nawait Generate\nsay "Hel"\nawait Cancel\nsend Usage+end finish=FINISH_CANCEL\neof\n')
        terminal = self.terminal('ask', 'hi')
        terminal.until(b'Hel')
        terminal.type(b'\x03')
        self.assertEqual(terminal.end(), 130)
        server.log()

    def test_nothing_to_ask_is_two(self):
        terminal = self.terminal('ask')
        self.assertEqual(terminal.end(), 2)
        self.assertIn(b'nothing to ask', terminal.seen)


class Chat(Case):
    def turn(self, text, more=''):
        return f'await Generate\n{more}say "{text}"\n' + END

    def test_each_line_of_a_pipe_is_a_turn(self):
        server = self.serve('accept\n' + self.turn('A1', 'think "hm"\n') + self.turn('A2') + 'eof\n')
        self.check(self.run_ctl('chat', '--system', 'S', stdin=b'Q1\n\nQ2'), 0, b'A1\nA2\n')
        self.assertIn('messages={ role="system" content="S"},{ role="user" content="Q1"},'
                      '{ role="assistant" content="A1"},{ role="user" content="Q2"}', server.log())

    def test_commands_work_in_a_pipe(self):
        server = self.serve('accept\n' + self.turn('A1') + self.turn('A2') + self.turn('A3') + 'eof\n')
        self.check(self.run_ctl('chat', stdin=b'Q1\n/undo\n/system S\n/think off\nQ2\n/clear\n/system\n/think on\n//Q3\n/quit\nQ4\n'),
                   0, b'A1\nA2\nA3\n')
        log = server.log().splitlines()
        prompts = [line.split('messages=')[1] for line in log if line.startswith('Prompt')]
        self.assertEqual(prompts[1], '{ role="system" content="S"},{ role="user" content="Q2"}')
        self.assertEqual(prompts[2], '{ role="user" content="/Q3"}')
        generates = [line for line in log if line.startswith('Generate')]
        self.assertIn('THINKING_OFF', generates[1])
        self.assertIn('THINKING_ON', generates[2])

    def test_error_in_a_pipe_ends_with_its_code(self):
        self.serve('accept\nawait Generate\nsend Error+end code=401 text="full"\neof\n')
        self.check(self.run_ctl('chat', stdin=b'Q1\nQ2\n'), 5, b'', 'full')

    def test_bad_bytes_in_a_pipe_are_two(self):
        self.serve('accept\neof\n')
        self.check(self.run_ctl('chat', stdin=b'caf\xe9\n'), 2, b'', 'not UTF-8')

    def test_restarted_daemon_is_found_again(self):
        server = self.serve('accept\n' + self.turn('A1') + 'close\naccept\n' + self.turn('A2') + 'eof\n')
        process = self.start('chat', stdin=subprocess.PIPE)
        process.stdin.write(b'Q1\n')
        process.stdin.flush()
        server.wait_for('closed')
        self.assertEqual(process.stdout.readline(), b'A1\n')
        out, err = process.communicate(b'Q2\n', timeout=LIMIT_S)
        self.assertEqual((process.returncode, out, err), (0, b'A2\n', b''))
        self.assertIn('{ role="assistant" content="A1"},{ role="user" content="Q2"}', server.log())

    def test_terminal_has_prompt_history_and_end(self):
        server = self.serve('accept\n' + self.turn('A1') + self.turn('A2') + 'eof\n')
        terminal = self.terminal('chat')
        terminal.until(b'> ')
        terminal.type('Qé1\n'.encode())
        terminal.until(b'A1\r\n')
        terminal.until(b'> ')
        terminal.type(b'\x1b[A')  # up: the last line again
        terminal.until('Qé1'.encode())
        terminal.type(b'2\n')
        terminal.until(b'A2\r\n')
        terminal.until(b'> ')
        terminal.type(b'\x04')
        self.assertEqual(terminal.end(), 0)
        self.assertIn('content="Qé12"', server.log())
        path = os.path.join(self.folder, '.local/state/qwend/chat_history')
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)
        self.assertEqual(stat.S_IMODE(os.stat(os.path.dirname(path)).st_mode), 0o700)
        with open(path) as f:
            self.assertIn('12', f.read())

    def test_control_c_stops_the_answer_not_the_program(self):
        server = self.serve('accept\nawait Generate\nsay "half"\nawait Cancel\non 1\nsend Usage+end finish=FINISH_CANCEL\n'
                            + self.turn('A2') + 'eof\n')
        terminal = self.terminal('chat')
        terminal.until(b'> ')
        terminal.type(b'Q1\n')
        terminal.until(b'half')
        terminal.type(b'\x03')
        terminal.until(b'(stopped)\r\n')
        terminal.until(b'> ')
        terminal.type(b'Q2\n')
        terminal.until(b'A2\r\n')
        terminal.until(b'> ')
        terminal.type(b'\x04')
        self.assertEqual(terminal.end(), 0)
        self.assertIn('{ role="assistant" content="half"},{ role="user" content="Q2"}', server.log())

    def test_control_c_at_the_prompt_gives_the_line_up(self):
        server = self.serve('accept\n' + self.turn('A1') + 'eof\n')
        terminal = self.terminal('chat')
        terminal.until(b'> ')
        terminal.type(b'dropped')
        terminal.until(b'dropped')
        terminal.type(b'\x03')
        terminal.until(b'\r\n> ')
        terminal.type(b'Q1\n')
        terminal.until(b'A1\r\n')
        terminal.until(b'> ')
        terminal.type(b'/quit\n')
        self.assertEqual(terminal.end(), 0)
        self.assertIn('content="Q1"', server.log())

    def test_error_on_a_terminal_is_said_and_the_talk_goes_on(self):
        server = self.serve('accept\nawait Generate\nsend Error+end code=202 text="too long"\n' + self.turn('A2') + 'eof\n')
        terminal = self.terminal('chat')
        terminal.until(b'> ')
        terminal.type(b'Q1\n')
        terminal.until(b'too long')
        terminal.until(b'> ')
        terminal.type(b'/help\n')
        terminal.until(b'/undo')
        terminal.until(b'> ')
        terminal.type(b'/nonsense\n')
        terminal.until(b'unknown command /nonsense')
        terminal.until(b'> ')
        terminal.type(b'Q2\n')
        terminal.until(b'A2\r\n')
        terminal.until(b'> ')
        terminal.type(b'\x04')
        self.assertEqual(terminal.end(), 0)
        self.assertIn('messages={ role="user" content="Q2"}', server.log())


class Service(Case):
    STATUS = ('accept\nawait Status\nsend StatusReply+end state=DEGRADED note="no GPU" server="qwend 0.1.0" pid=7 '
              'model={name="Qwen" file="q.gguf" n_params=9000000000 quantisation="Q4_K"} backend="cpu" isa="avx2" '
              'context=4096 slots=4 running=1 queued=2 weights_bytes=3145728 weights_host_bytes=1048576 kv_type="f16" preemptions=3 '
              'cache_dir_bytes=4194304 cache_dir_used_bytes=1048576 '
              'publics={name="a" state=READY tokens=7},{name="b" state=WAITING},{name="c" state=REFUSED text="no"}\neof\n')

    def test_status_as_text_and_json(self):
        server = self.serve(self.STATUS)
        done = self.run_ctl('status')
        self.check(done, 0)
        for text in ('degraded: no GPU', 'Qwen, 9.00 G parameters, Q4_K', 'cpu avx2', '4096 tokens', '1 running, 2 queued',
                     'preempted 3 times', 'on disk   1 of 4 MiB', 'weights 3 MiB (2 on the device, 1 in main memory), state', 'public    a: 7 tokens\n', 'public    b: waiting\n',
                     'public    c: refused: no\n'):
            self.assertIn(text, done.stdout.decode())
        server.log()
        self.serve(self.STATUS)
        whole = json.loads(self.run_ctl('status', '--json').stdout)
        self.assertEqual((whole['state'], whole['model']['params'], whole['queued']), ('degraded', 9000000000, 2))
        self.assertEqual((whole['weights_bytes'], whole['weights_host_bytes']), (3 << 20, 1 << 20))
        self.assertEqual((whole['preemptions'], whole['cache_dir_bytes'], whole['cache_dir_used_bytes']), (3, 4 << 20, 1 << 20))
        self.assertEqual([(p['name'], p['state']) for p in whole['publics']], [('a', 'ready'), ('b', 'waiting'), ('c', 'refused')])

    PS = ('accept\nawait ListRequests\nsend Requests+end requests={request_id="0123456789abcdef" uid=1000 pid=5 '
          'client="a\\x1b[2Jb" state=DECODE prompt_tokens=10 output_tokens=20 cached_tokens=4 tokens_s=7.5 age_s=2.5 priority=PRIORITY_BATCH},'
          '{request_id="0123xxxxxxxxxxxx" state=QUEUED position=1}\n')

    def test_ps_as_text_and_json(self):
        server = self.serve(self.PS + 'eof\n')
        done = self.run_ctl('ps')
        self.check(done, 0)
        self.assertRegex(done.stdout.decode(), r'30313233343536373839616263646566\s+1000\s+5 decode\s+batch\s+0\s+10\s+4\s+20\s+7\.5\s+2\.5s')
        server.log()
        self.serve(self.PS + 'eof\n')
        requests = json.loads(self.run_ctl('ps', '--json').stdout)['requests']
        self.assertEqual([r['state'] for r in requests], ['decode', 'queued'])

    def test_ps_of_foreign_names_is_harmless_on_a_terminal(self):
        self.serve(self.PS + 'eof\n')
        terminal = self.terminal('ps')
        self.assertEqual(terminal.end(), 0)
        self.assertNotIn(b'\x1b', terminal.seen)

    def test_cancel_by_id_start_and_mine(self):
        server = self.serve(self.PS + 'await Cancel\non 2\nsend Cancelled+end n_cancelled=1\neof\n')
        self.check(self.run_ctl('cancel', '3031323334'), 0, b'cancelled 1\n')
        self.assertIn('request_id="0123456789abcdef"', server.log())
        server = self.serve(self.PS + 'eof\n')
        self.check(self.run_ctl('cancel', '3031'), 2, b'', '2 requests start with 3031')
        server.log()
        server = self.serve(self.PS + 'eof\n')
        self.check(self.run_ctl('cancel', 'ffff'), 1, b'', 'no request starts with ffff')
        server.log()
        server = self.serve('accept\nawait Cancel\non 1\nsend Cancelled+end n_cancelled=0\neof\n')
        self.check(self.run_ctl('cancel', '--mine'), 1, b'cancelled 0\n')
        self.assertIn('mine=1', server.log())

    def test_tokenize_forms(self):
        script = 'accept\nawait Tokenize\nsend Tokens+end ids=5,60,700\neof\n'
        for args, out in (([], b'5 60 700\n'), (['--count'], b'3\n'), (['--json'], b'{"n":3,"ids":[5,60,700]}\n'),
                          (['--json', '--count'], b'{"n":3}\n')):
            server = self.serve(script)
            self.check(self.run_ctl('tokenize', *args, 'some text'), 0, out)
            self.assertIn('text="some text" special=SPECIAL_NONE', server.log())
        server = self.serve(script)
        self.check(self.run_ctl('tokenize', '--special', stdin=b'from a pipe'), 0)
        self.assertIn('text="from a pipe" special=SPECIAL_ALL', server.log())

    def test_version_with_and_without_daemon(self):
        self.assertRegex(self.run_ctl('version').stdout.decode(), r'^qwenctl [0-9.]+, libqwend [0-9.]+\n$')
        self.serve('accept\nawait Status\nsend StatusReply+end server="qwend 9.9"\neof\n')
        self.assertIn(b'daemon qwend 9.9', self.run_ctl('--version').stdout)

    def test_help_names_verbs_codes_and_options(self):
        text = self.run_ctl('help').stdout.decode()
        for verb in ('ask', 'chat', 'status', 'ps', 'top', 'cancel', 'tokenize', 'version', 'help'):
            self.assertIn(f'\n  {verb} ', text)
            done = self.run_ctl(verb, '--help')
            self.check(done, 0)
            self.assertEqual(done.stdout, self.run_ctl('help', verb).stdout)
            self.assertTrue(all(len(line) <= 80 for line in done.stdout.decode().splitlines()))
        for code in (0, 1, 2, 3, 4, 5, 6, 9, 10, 130, 141, 143):
            self.assertIn(f'\n  {code} ', text)
        self.assertEqual(self.run_ctl('--help').stdout.decode(), text)
        self.assertEqual(self.run_ctl('--help', 'two words').stdout, self.run_ctl('help', 'ask').stdout)


if __name__ == '__main__':
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
