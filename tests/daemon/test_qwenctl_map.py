"""`qwenctl map` against a daemon that fails, as a program.

usage: test_qwenctl_map.py QWENCTL FAKE_SERVER [unittest options]
"""
import json
import sys
import unittest

from test_qwenctl import Case

STATUS = 'accept\nawait Status\nsend StatusReply+end state=SERVING slots=1\neof\naccept\n'
LOST = 'await Generate\nsend Error+end code=501 text="the engine is lost"\n'
FULL = 'await Generate\nsend Error+end code=401 text="full" retry_after_ms=1\n'
OK = 'await Generate\nsay "ok"\nsend Usage+end finish=FINISH_STOP\n'


class Map(Case):
    def texts(self, done):
        return [json.loads(line)['text'] for line in done.stdout.splitlines()]

    def test_what_broke_is_tried_again_as_often_as_is_allowed(self):
        server = self.serve(STATUS + LOST + LOST + OK + 'eof\n')
        done = self.run_ctl('map', 'Say:', stdin=b'one\n')
        self.check(done, 0, err='')
        self.assertEqual(self.texts(done), ['ok'])
        self.assertEqual(server.log().count('content="Say:\\n\\none"'), 3)
        self.serve(STATUS + LOST + OK + 'eof\n')
        done = self.run_ctl('map', '--retry=0', stdin=b'one\ntwo\n')
        self.check(done, 11, err='record 1 (line 1): the engine is lost, ENGINE_LOST')
        self.assertEqual(self.texts(done), ['ok'])

    def test_a_full_daemon_uses_up_no_try(self):
        self.serve(STATUS + 9 * FULL + OK + 'eof\n')
        done = self.run_ctl('map', '--retry=0', stdin=b'one\n')
        self.check(done, 0, err='')
        self.assertEqual(self.texts(done), ['ok'])

    def test_what_another_cancelled_has_failed(self):
        self.serve(STATUS + 'await Generate\nsay "half"\nsend Usage+end finish=FINISH_CANCEL\n' + OK + 'eof\n')
        done = self.run_ctl('map', stdin=b'one\ntwo\n')
        self.check(done, 11, err='record 1 (line 1): the request was cancelled, CANCELLED')
        self.assertEqual(self.texts(done), ['ok'])

    def test_requests_are_of_class_batch_and_carry_the_options(self):
        server = self.serve(STATUS + OK + 'eof\n')
        self.check(self.run_ctl('map', '--temp=0', '-n', '7', '--no-think', '--system', 'Be brief.', stdin=b'one\n'), 0)
        log = server.log()
        for said in ('priority=PRIORITY_BATCH', 'max_tokens=7', 'THINKING_OFF', 'content="Be brief."', 'content="one"'):
            self.assertIn(said, log)

    def test_no_daemon_and_no_model_are_named(self):
        self.check(self.run_ctl('map', stdin=b'one\n'), 3, b'', 'no daemon on')
        self.serve('accept\nawait Status\nsend StatusReply+end state=LOADING\nawait Status\n'
                   'send StatusReply+end state=FAILED note="no such file"\neof\n')
        self.check(self.run_ctl('map', stdin=b'one\n'), 10, b'', 'the daemon has no model: no such file')


if __name__ == '__main__':
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
