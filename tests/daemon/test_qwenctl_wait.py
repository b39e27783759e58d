"""What qwenctl says on a terminal while nothing comes yet, and windows that change their size meanwhile.

usage: test_qwenctl_wait.py QWENCTL FAKE_SERVER [unittest options]
"""
import os
import re
import subprocess
import sys
import unittest

from test_qwenctl import END, Case


class Waiting(Case):
    @staticmethod
    def still(terminal):
        """What was seen, without what a machine that is slow for a second has turn."""
        return re.sub(rb'qwenctl: [^\r\n]* [0-9]+ s\r\x1b\[K', b'', terminal.seen)

    def test_waiting_is_said_and_wiped(self):
        self.serve('accept\nawait Generate\nsend Accepted position=2\nsay "Hello"\nsend Usage+end finish=FINISH_LENGTH '
                   'answer_tokens=2 warnings="hot"\neof\n')
        terminal = self.terminal('ask', '-n2', 'hi')
        self.assertEqual(terminal.end(), 0)
        self.assertEqual(self.still(terminal), b'qwenctl: waiting: number 2 in the queue\r\x1b[KHello\r\nqwenctl: warning: hot\r\n'
                                        b'qwenctl: cut off after 2 tokens: --max-tokens\r\n')

    def test_reading_a_long_prompt_is_said_and_wiped(self):
        for prompt, cached, said in ((1500, 500, b'qwenctl: reading 1000 tokens\r\x1b[K'), (1500, 501, b''), (999, 0, b'')):
            self.serve(f'accept\nawait Generate\nsend Accepted position=0 prompt_tokens={prompt} cached_tokens={cached}\nsay "Hello"\n'
                       + END + 'eof\n')
            terminal = self.terminal('ask', 'hi')
            self.assertEqual(terminal.end(), 0)
            self.assertEqual(self.still(terminal), said + b'Hello\r\n')
            os.unlink(self.env['QWEND_SOCKET'])

    def test_how_far_a_prompt_is_read_is_said(self):
        hold, read = self.gate()
        wait, go_on = self.gate('second')
        self.serve(f'accept\nawait Generate\nsend Accepted position=0 prompt_tokens=40000 cached_tokens=10000\n{hold}'
                   f'send Event kind=READ read_tokens=10003 prompt_tokens=40000\n{wait}say "Hello"\n' + END + 'eof\n')
        terminal = self.terminal('ask', 'hi')
        terminal.until('qwenctl: reading 30000 tokens ⠋ '.encode())     # by then a second has passed
        read()
        terminal.until(b'qwenctl: reading 30000 tokens: 0 %, ')
        terminal.until(b' s left ')
        go_on()
        self.assertEqual(terminal.end(), 0)
        self.assertTrue(terminal.seen.endswith(b'\r\x1b[KHello\r\n'), terminal.seen)

    def test_how_far_it_is_is_a_line_of_ndjson(self):
        self.serve('accept\nawait Generate\nsend Accepted position=0 prompt_tokens=40 cached_tokens=10\n'
                   'send Event kind=READ read_tokens=30 prompt_tokens=40\nsay "Hello"\n' + END + 'eof\n')
        done = self.run_ctl('ask', '--ndjson', 'hi')
        self.assertIn(b'{"e":"progress","prompt":40,"read":30}\n', done.stdout)

    def gate(self, name='gate'):
        """A line for a script that holds it, and what lets it go on."""
        path = os.path.join(self.folder, name)
        os.mkfifo(path)

        def opened():
            os.close(os.open(path, os.O_WRONLY))
        return f'hold {path}\n', opened

    def test_waiting_turns_and_counts_until_the_first_text(self):
        hold, go_on = self.gate()
        self.serve(f'accept\nawait Generate\nsend Accepted position=2\n{hold}say "Hello"\n' + END + 'eof\n')
        terminal = self.terminal('ask', 'hi')
        terminal.until(b'qwenctl: waiting: number 2 in the queue')
        for mark in '⠋⠙':
            terminal.until(f'\r\x1b[Kqwenctl: waiting: number 2 in the queue {mark} '.encode())
        go_on()
        self.assertEqual(terminal.end(), 0)
        lines = terminal.seen.split(b'\r\x1b[K')
        self.assertEqual(lines[-1], b'Hello\r\n')
        for line in lines[:-1]:
            self.assertRegex(line.decode(), r'^qwenctl: waiting: number 2 in the queue( [⠀-⣿] [1-9][0-9]* s)?$')

    def test_what_takes_long_is_said(self):
        for script, said in (('', b'waiting for the daemon / '),
                             ('send Accepted position=0 prompt_tokens=9\n', b'reading 9 tokens / '),
                             ('send Accepted position=0 prompt_tokens=9\nthink "hm"\n', b'reasoning / ')):
            hold, go_on = self.gate()
            self.env['LC_ALL'] = 'C'  # no dots there
            self.serve(f'accept\nawait Generate\n{script}{hold}say "Hello"\n' + END + 'eof\n')
            terminal = self.terminal('ask', '--show-thinking=none', 'hi')
            terminal.until(said)
            go_on()
            self.assertEqual(terminal.end(), 0)
            self.assertTrue(terminal.seen.endswith(b'\r\x1b[KHello\r\n'), terminal.seen)
            os.unlink(self.env['QWEND_SOCKET'])
            os.unlink(os.path.join(self.folder, 'gate'))

    def test_nothing_turns_where_nothing_can_be_drawn_over(self):
        """No word of it in a pipe or with -q; on a terminal that cannot move its cursor one line, once."""
        for env, args, streams, said in (({}, (), {'stderr': subprocess.PIPE}, b''), ({}, ('-q',), {}, b''),
                                         ({'TERM': 'dumb'}, (), {}, b'qwenctl: waiting: number 2 in the queue\r\n')):
            hold, go_on = self.gate()
            wait, seen = self.gate('second')
            self.env.update(env)
            server = self.serve(f'accept\nawait Generate\nsend Accepted position=2\nping 1\nawait Pong\n{hold}{wait}say "Hello"\n' + END + 'eof\n')
            terminal = self.terminal('ask', *args, 'hi', **streams)
            go_on()  # the answer to the ping is there: it has seen that it waits
            self.assertIsNone(terminal.process.poll())
            seen()
            self.assertEqual(terminal.end(), 0)
            self.assertEqual(terminal.seen, said + b'Hello\r\n')
            if terminal.process.stderr:
                self.assertEqual(terminal.process.stderr.read(), b'')
            server.log()
            os.unlink(os.path.join(self.folder, 'gate'))
            os.unlink(os.path.join(self.folder, 'second'))

    def test_waiting_in_the_middle_of_an_answer_wipes_none_of_it(self):
        self.serve('accept\nawait Generate\nsay "Hel"\nsend Event kind=PREEMPTED\nsend Accepted position=2\nsay "lo"\n' + END + 'eof\n')
        terminal = self.terminal('ask', '--color=never', 'hi')
        self.assertEqual(terminal.end(), 0)
        self.assertNotIn(b'\x1b', terminal.seen)
        self.assertIn(b'waiting: number 2 in the queue\r\n', terminal.seen)

    def test_waiting_fits_into_the_window(self):
        """Cut to one line of it; of a window that became narrower, what it made of the line goes, and nothing above."""
        hold, go_on = self.gate()
        self.serve(f'accept\nawait Generate\nsend Accepted position=2\n{hold}say "Hello"\n' + END + 'eof\n')
        terminal = self.terminal('ask', 'hi', size=(24, 30))
        terminal.until(b'qwenctl: waiting: number 2 in\r\x1b[K')  # 29 columns
        terminal.resize(24, 10)
        terminal.until(b'\r\x1b[2A\x1b[Jqwenctl: \r\x1b[K')  # 29 columns are three lines of ten
        terminal.resize(24, 80)
        terminal.until(b'\r\x1b[Kqwenctl: waiting: number 2 in the queue')
        go_on()
        self.assertEqual(terminal.end(), 0)

    def test_window_of_one_column_has_no_room_to_wait_in(self):
        self.serve('accept\nawait Generate\nsend Accepted position=2\nsay "Hello"\n' + END + 'eof\n')
        terminal = self.terminal('ask', '--color=never', 'hi', size=(24, 1))
        self.assertEqual(terminal.end(), 0)
        self.assertEqual(terminal.seen, b'Hello\r\n')

    def test_answer_follows_the_window(self):
        """A paragraph that stands there unfinished is taken back as the window shows it now."""
        hold, go_on = self.gate()
        self.serve(f'accept\nawait Generate\nsay "**a** {"b" * 50}"\n{hold}say " c\\n\\nd\\n"\n' + END + 'eof\n')
        terminal = self.terminal('ask', 'hi')
        terminal.until(b'b' * 50)
        terminal.resize(24, 20)
        go_on()
        self.assertEqual(terminal.end(), 0)
        if b'\x1b[0;1ma' in terminal.seen:  # built with Markdown
            self.assertIn(b'\r\x1b[2A\x1b[J\x1b[0;1ma', terminal.seen)


if __name__ == '__main__':
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
