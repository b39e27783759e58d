"""`qwenctl top` as a program against the scripted server: tables, the terminal taken and given back, ends.

usage: test_top.py QWENCTL FAKE_SERVER [unittest options]
"""
import fcntl
import json
import os
import signal
import struct
import sys
import termios
import unittest

from test_qwenctl import Case


class Top(Case):
    STATUS = ('accept\nawait Status\nsend StatusReply+end state=SERVING model={name="Qwen" quantisation="Q4_K"} backend="cpu" '
              'isa="avx2"\n')
    SAMPLE = ('send Sample seq=0 state=SERVING uptime_s=5 slots=4 running=1 queued=1 written_s=41.25 output_tokens=1234567 '
              'list={request_id="0123456789abcdef" uid=4294967294 client="a\\x1b[2Jb" state=QUEUED position=2},'
              '{request_id="0123xxxxxxxxxxxx" uid=0 state=DECODE prompt_tokens=200 cached_tokens=50 tokens_s=12.5 client="vim"}\n')
    ONCE = STATUS + 'await Subscribe\n' + SAMPLE + 'eof\n'

    def test_pipe_gets_one_plain_table(self):
        for args in ((), ('--once',)):
            server = self.serve(self.ONCE)
            done = self.run_ctl('top', *args)
            self.check(done, 0)
            text = done.stdout.decode()
            self.assertIn('serving: Qwen, Q4_K, cpu avx2, up 5.0s', text)
            self.assertRegex(text, r'1 of 4, 1 waiting(.|\n)*41\.2/s written.*1\.2M written')
            self.assertRegex(text, r'root.* normal decode +200 +25% +0 +12\.5(.|\n)*4294967\d* .*queued 2')
            self.assertNotIn('\x1b', text)
            self.assertIn('Subscribe stream=3', server.log())

    def test_json_is_one_object(self):
        self.serve(self.ONCE)
        whole = json.loads(self.run_ctl('top', '--json').stdout)
        self.assertEqual((whole['state'], whole['model'], whole['written_s'], whole['queued']), ('serving', 'Qwen', 41.25, 1))
        self.assertEqual([r['state'] for r in whole['requests']], ['queued', 'decode'])

    def live(self, *args):
        self.serve(self.ONCE)
        terminal = self.terminal('top', *args)
        terminal.until(b'\x1b[?1049h')
        terminal.until(b'Qwen, Q4_K')
        return terminal

    def ends(self, terminal, code):
        terminal.until(b'\x1b[?1049l')  # cursor, wrapping and screen are given back
        self.assertIn(b'\x1b[?7h\x1b[?25h', terminal.seen)
        local, keys = termios.tcgetattr(terminal.fd)[3::3]
        self.assertTrue(local & termios.ICANON and keys[termios.VSUSP] == b'\x1a', (local, keys))
        self.assertEqual(terminal.end(), code)

    def test_terminal_is_live_until_q(self):
        terminal = self.live()
        terminal.until(b'vim')
        terminal.type(b'xyzq')
        self.ends(terminal, 0)
        self.assertNotIn(b'[2Jb', terminal.seen.replace(b'^[[2Jb', b''))

    def test_interrupt_and_terminate_give_the_terminal_back(self):
        for name, code in (('SIGINT', 130), ('SIGTERM', 143)):
            terminal = self.live()
            terminal.process.send_signal(getattr(signal, name))
            self.ends(terminal, code)
            os.unlink(os.path.join(self.folder, 'sock'))
        terminal = self.live()
        terminal.type(b'\x03')
        self.ends(terminal, 130)

    def test_another_size_is_drawn_at_once(self):
        self.env['NO_COLOR'] = '1'
        terminal = self.live()
        terminal.until(b'vim')
        fcntl.ioctl(terminal.fd, termios.TIOCSWINSZ, struct.pack('4H', 40, 200, 0, 0))
        terminal.until(b'     PID ')  # only where there is room
        terminal.type(b'q')
        self.ends(terminal, 0)
        self.assertNotRegex(terminal.seen, rb'\x1b\[\d*m')

    def test_daemon_that_goes_away_is_three_and_said_on_the_screen_of_before(self):
        self.serve(self.ONCE.replace('eof', 'close'))
        terminal = self.terminal('top')
        terminal.until(b'\x1b[?1049l')
        self.assertEqual(terminal.end(), 3)
        self.assertIn(b'qwenctl: ', terminal.seen[terminal.mark:])

    def test_refusal_is_said_with_its_code(self):
        refusal = 'await Subscribe\nsend Error+end code=302 text="8 subscriptions"\neof\n'
        server = self.serve(self.STATUS + refusal)
        self.check(self.run_ctl('top'), 4, b'', '8 subscriptions')
        server.log()
        self.serve(self.STATUS + refusal)
        terminal = self.terminal('top')
        self.assertEqual(terminal.end(), 4)
        self.assertIn(b'8 subscriptions', terminal.seen)

    def test_another_state_asks_again_what_is_served(self):
        server = self.serve('accept\nawait Status\nsend StatusReply+end state=LOADING\nawait Subscribe\n' + self.SAMPLE +
                            self.STATUS.replace('accept\n', '') + 'eof\n')
        terminal = self.terminal('top')
        server.wait_for('Status stream=5')
        terminal.type(b'q')
        self.assertEqual(terminal.end(), 0)

    def test_interval_out_of_range_is_two(self):
        for interval in ('99ms', '61s', 'often'):
            self.check(self.run_ctl('top', '--interval', interval), 2, b'', '--interval')


if __name__ == '__main__':
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
