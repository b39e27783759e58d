"""qwenctl use as a program: which file a word means, what is shown on the way, signals, exit codes.

usage: test_qwenctl_use.py QWENCTL FAKE_SERVER [unittest options]
"""
import json
import os
import signal
import sys
import unittest

from test_qwenctl import LIMIT_S, Case

SERVED = 'accept\nawait Use\nsend UseProgress stage=CHECKING\nsend Used+end text="x.gguf is served"\neof\n'


class Use(Case):
    def model(self, name, folder='.local/share/qwend/models'):
        path = os.path.join(self.folder, folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, 'wb') as f:
            f.write(b'GGUF')
        return path

    def check_asks_for(self, word, path, cwd=None):
        server = self.serve(SERVED)
        self.check(self.run_ctl('use', word, cwd=cwd), 0, b'x.gguf is served\n')
        self.assertIn(f'Use stream=1 model_path="{path}"', server.log())

    def test_a_word_is_a_path_or_a_name_or_its_beginning(self):
        big, small = self.model('Qwen3.5-9B-Q4_K_M.gguf'), self.model('Qwen3.5-4B.gguf')
        self.model('Qwen3.5-4B-extra.gguf')
        self.model('notes.txt')
        here = self.model('here.gguf', 'work')
        for word, path in (('/nowhere/x.gguf', '/nowhere/x.gguf'), (big, big), ('Qwen3.5-9B-Q4_K_M.gguf', big),
                           ('Qwen3.5-9B-Q4_K_M', big), ('qwen3.5-9b', big), ('Qwen3.5-4B', small)):
            self.check_asks_for(word, path)
        work = os.path.dirname(here)
        self.check_asks_for('here.gguf', here, work)
        self.check_asks_for('./here.gguf', f'{work}/./here.gguf', work)

    def test_a_word_that_means_nothing_or_two_says_what_there_is(self):
        self.check(self.run_ctl('use', 'x'), 1, b'', 'no model "x", nor any other: qwenctl pull URL')
        self.model('Qwen3.5-9B.gguf'), self.model('Qwen3.5-4B.gguf')
        self.check(self.run_ctl('use', 'x'), 1, b'', 'no model "x"; there are: Qwen3.5-4B.gguf, Qwen3.5-9B.gguf')
        self.check(self.run_ctl('use', 'qwen'), 2, b'', 'several models begin with "qwen": Qwen3.5-4B.gguf, Qwen3.5-9B.gguf')
        for words, said in ((('use',), 'which model?'), (('use', '--call-off', 'x'), '--call-off takes no model'),
                            (('use', ''), "the model's name is empty"), (('use', '/a', '/b'), '')):
            self.check(self.run_ctl(*words), 2, b'', said)

    def test_every_refusal_has_its_code(self):
        for code, exit_code in ((201, 2), (301, 4), (403, 5), (404, 5), (501, 10), (502, 10), (504, 10), (603, 10)):
            self.serve(f'accept\nawait Use\nsend Error+end code={code} text="that is why"\neof\n')
            done = self.run_ctl('use', '/x.gguf')
            self.check(done, exit_code, b'', 'that is why (')
            os.unlink(self.env['QWEND_SOCKET'])
        self.check(self.run_ctl('use', '/x.gguf'), 3)

    def test_what_only_the_daemon_cannot_see_is_explained(self):
        path = self.model('x.gguf')
        self.serve('accept\nawait Use\nsend Error+end code=201 text="x: Permission denied, for qwend"\neof\n')
        self.check(self.run_ctl('-v', 'use', path), 2, b'', f'/var/lib/qwend/models: sudo qwenctl import {path}')

    def test_a_terminal_shows_how_far_it_is(self):
        server = self.serve('accept\nawait Use\nsend UseProgress stage=CHECKING\nsend UseProgress stage=DRAINING left=7\nping 1\n'
                            'await Pong\nsend UseProgress stage=LOADING load_permille=420\nping 2\nawait Pong\n'
                            'send UseProgress stage=RETURNING load_permille=10\nping 3\nawait Pong\n'
                            'send Used+end text="served"\neof\n')
        terminal = self.terminal('use', '/x.gguf')
        self.assertEqual(terminal.end(), 0)
        for said in (b'7 requests of the old model', b'being loaded, 42 %', b'the old model is, again, 1 %', b'served\r\n'):
            self.assertIn(said, terminal.seen)
        server.log()

    def test_a_pipe_gets_the_result_alone(self):
        server = self.serve(SERVED)
        done = self.run_ctl('use', '/x.gguf')
        self.assertEqual((done.stdout, done.stderr), (b'x.gguf is served\n', b''))
        server.log()
        server = self.serve(SERVED)
        self.check(self.run_ctl('use', '-q', '/x.gguf'), 0, b'')
        server.log()

    def test_no_wait_ends_when_the_file_was_found_good(self):
        server = self.serve('accept\nawait Use\nsend UseProgress stage=CHECKING\nping 1\nawait Pong\n'
                            'send UseProgress stage=DRAINING left=1\neof\n')
        self.check(self.run_ctl('use', '--no-wait', '/x.gguf'), 0, b'begun: qwenctl status says how far it is\n')
        self.assertNotIn('Cancel', server.log())
        server = self.serve('accept\nawait Use\nsend Error+end code=201 text="no GGUF"\neof\n')
        self.check(self.run_ctl('use', '--no-wait', '/x.gguf'), 2, b'', 'no GGUF')
        server.log()

    def test_interrupt_calls_it_off(self):
        server = self.serve('accept\nawait Use\nsend UseProgress stage=DRAINING left=1\nawait Cancel\n'
                            'send Error+end code=603 text="called off"\neof\n')
        process = self.start('use', '/x.gguf')
        server.wait_for('Use')
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(timeout=LIMIT_S), 130)
        server.log()

    def test_interrupt_that_is_too_late_waits_for_the_end(self):
        server = self.serve('accept\nawait Use\nsend UseProgress stage=LOADING\nawait Cancel\n'
                            'send Used+end text="served"\neof\n')
        process = self.start('use', '/x.gguf')
        server.wait_for('Use')
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=LIMIT_S)
        self.assertEqual((process.returncode, out), (0, b'served\n'))
        server.log()

    def test_time_that_is_over_calls_it_off(self):
        script = 'accept\nawait Use\nsend UseProgress stage={}\nawait Cancel\n{}\neof\n'
        server = self.serve(script.format('DRAINING left=1', 'send Error+end code=603 text="called off"'))
        self.check(self.run_ctl('--timeout', '50ms', 'use', '/x.gguf'), 9, b'')
        server.log()
        server = self.serve(script.format('LOADING', 'send Used+end text="served"'))
        self.check(self.run_ctl('--timeout', '50ms', 'use', '/x.gguf'), 0, b'served\n')
        server.log()

    def test_call_off(self):
        server = self.serve('accept\nawait Use\nsend Done+end text="called off"\neof\n')
        self.check(self.run_ctl('-v', 'use', '--call-off'), 0, b'', 'called off')
        self.assertIn('Use stream=1 END cancel=1', server.log())
        server = self.serve('accept\nawait Use\nsend Error+end code=404 text="too late"\neof\n')
        self.check(self.run_ctl('use', '--call-off'), 5, b'', 'too late')
        server.log()

    def test_a_lost_daemon_says_where_to_look(self):
        server = self.serve('accept\nawait Use\nsend UseProgress stage=LOADING\nclose\n')
        self.check(self.run_ctl('use', '/x.gguf'), 3, b'', 'qwenctl status says what is served')
        server.log()


class Look(Case):
    STATUS = 'accept\nawait Status\nsend StatusReply+end state=SERVING model_path="/a.gguf" use_path="/b.gguf" use={%s}\neof\n'

    def test_status_says_what_comes(self):
        for use, said in (('stage=CHECKING', '/b.gguf: checking\n'),
                          ('stage=DRAINING left=3', '/b.gguf: draining, 3 requests of the present model are served first\n'),
                          ('stage=LOADING load_permille=420', '/b.gguf: loading, 42 %\n')):
            server = self.serve(self.STATUS % use)
            self.assertIn(f'next      {said}', self.run_ctl('status').stdout.decode())
            server.log()
        server = self.serve(self.STATUS % 'stage=DRAINING left=3')
        told = json.loads(self.run_ctl('status', '--json').stdout)
        self.assertEqual(told['model_path'], '/a.gguf')
        self.assertEqual(told['next'], {'path': '/b.gguf', 'stage': 'draining', 'left': 3, 'load_permille': 0})
        server.log()

    def test_models_marks_the_file_and_not_its_name(self):
        folder = os.path.join(self.folder, '.local/share/qwend/models')
        os.makedirs(folder)
        for path in (os.path.join(folder, 'x.gguf'), os.path.join(self.folder, 'x.gguf')):
            with open(path, 'wb') as f:
                f.write(b'GGUF')
        for served, marked in ((os.path.join(self.folder, 'x.gguf'), False), (os.path.join(folder, 'x.gguf'), True),
                               ('/of/a/container/x.gguf', True)):
            server = self.serve(f'accept\nawait Status\nsend StatusReply+end model={{file="x.gguf"}} model_path="{served}"\neof\n')
            self.assertEqual(json.loads(self.run_ctl('models', '--json').stdout)['models'][0]['served'], marked)
            server.log()


if __name__ == '__main__':
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
