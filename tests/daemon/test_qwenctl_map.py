"""`qwenctl map` against a daemon that fails, as a program.

usage: test_qwenctl_map.py QWENCTL FAKE_SERVER [unittest options]
"""
import json
import os
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

    def dry(self, records, more='', args=(), cache='cache_bytes=1000'):
        """A dry run of records with these tokens; nothing but text is asked for, or the script is not followed."""
        asked = ''.join(f'await Render\nsend Text+end text="x"\nawait Tokenize\nsend Tokens+end ids={",".join(map(str, ids))}\n'
                        for ids in records)
        server = self.serve(f'accept\nawait Status\nsend StatusReply+end state=SERVING slots=4 {self.MODEL} {cache}\n{asked}{more}eof\n')
        done = self.run_ctl('map', '--dry-run', *args, 'Say: {{.}}', stdin=b'one\n' * len(records))
        server.log()
        self.check(done, 0, b'x')
        return done.stderr.decode().lstrip('\n')

    MODEL = 'model={name="M" quantisation="Q8_0"} backend="cpu" isa="avx2" threads=3'
    BEGINNING = list(range(40))

    def test_dry_run_says_what_is_shared(self):
        subscribe = 'await Subscribe\nsend Sample seq=0 state=SERVING\n'
        first = [*self.BEGINNING, 98, 99]
        said = self.dry([first, [*self.BEGINNING, 97]], subscribe)
        self.assertEqual(said, '2 records, 83 tokens of prompts, at most 42 in one; 0 wrong\n40 tokens of each are the same beginning: '
                         'read once, from then on in the prefix cache; 43 tokens to read\n'
                         'how long it takes a first map with this model will show\n')
        for records, says, cache in (([first], 'how long', 'cache_bytes=1000'), ([first, first[:31]], '31 tokens of each are the same beginning: too few',
                                     'cache_bytes=1000'), ([first, first], 'the daemon has no prefix cache', ''),
                                     ([first, [5]], 'how long', 'cache_bytes=1000')):
            said = self.dry(records, subscribe, cache=cache).splitlines()
            self.assertIn(says, said[1])

    def test_dry_run_estimates_by_the_last_map_with_this_model(self):
        usage = 'await Generate\nsay "ok"\nsend Usage+end finish=FINISH_STOP prompt_tokens=120 cached_tokens=20 answer_tokens=6 reasoning_tokens=4'
        status = f'accept\nawait Status\nsend StatusReply+end state=SERVING slots=1 {self.MODEL}\neof\naccept\n'
        server = self.serve(f'{status}{usage} prefill_ms=60000 decode_ms=30000\n{usage} prefill_ms=40000 decode_ms=10000\neof\n')
        self.check(self.run_ctl('map', stdin=b'one\ntwo\n'), 0)
        server.log()
        path = os.path.join(self.folder, '.local/state/qwend/speeds.json')
        with open(path, encoding='utf-8') as f:
            kept = json.load(f)['M Q8_0 cpu avx2 3']
        self.assertEqual({name: kept[name] for name in kept if name != 'at'},
                         {'records': 2, 'read_tokens': 200, 'write_tokens': 20, 'read_ms': 100000.0, 'write_ms': 40000.0})
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)
        records = [[*self.BEGINNING, 98, 99], [*self.BEGINNING, 97]]
        # 43 tokens to read of 500 ms each, two answers of ten tokens of 2000 ms, two at a time
        self.assertIn('about 30.8s, if it is as in the last map with this model: answers of 10 tokens, 2000.00 ms for each of them '
                      'and 500.00 ms for each token to read, 2 at a time\n', self.dry(records))
        self.assertIn('about 29.5s, if it is as in the last map with this model: answers of 2 tokens', self.dry(records, args=('-n2', '-j1')))

    def test_dry_run_beside_others_takes_their_speed(self):
        said = self.dry([list(range(42))], 'await Subscribe\nsend Sample seq=0 state=SERVING read_s=21\n')
        self.assertIn('2.0s to read, at the 21 tokens a second of just now', said)

    def test_no_daemon_and_no_model_are_named(self):
        self.check(self.run_ctl('map', stdin=b'one\n'), 3, b'', 'no daemon on')
        self.serve('accept\nawait Status\nsend StatusReply+end state=LOADING\nawait Status\n'
                   'send StatusReply+end state=FAILED note="no such file"\neof\n')
        self.check(self.run_ctl('map', stdin=b'one\n'), 10, b'', 'the daemon has no model: no such file')


if __name__ == '__main__':
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
