"""`qwenctl config` and what a configuration does to other verbs, as a program.

usage: test_qwenctl_config.py QWENCTL FAKE_SERVER [unittest options]
"""
import os
import stat
import sys
import unittest

from test_qwenctl import ANSWER, Case


class Config(Case):
    def path(self):
        return os.path.join(self.folder, '.config/qwend/qwenctl.conf')

    def test_what_is_set_is_read_by_others(self):
        self.check(self.run_ctl('config', 'get', 'max-tokens'), 1, b'')
        self.check(self.run_ctl('config', 'set', 'max-tokens', '77'), 0, b'')
        self.check(self.run_ctl('config', 'set', 'system', 'Be brief.'), 0, b'')
        self.check(self.run_ctl('config', 'get', 'max-tokens'), 0, b'77\n')
        self.assertEqual(stat.S_IMODE(os.stat(os.path.dirname(self.path())).st_mode), 0o700)
        server = self.serve(ANSWER)
        self.check(self.run_ctl('ask', 'hi'), 0, b'Hello')
        log = server.log()
        self.assertIn('max_tokens=77', log)
        self.assertIn('role="system" content="Be brief."', log)
        server = self.serve(ANSWER)
        self.check(self.run_ctl('ask', '-n5', '--raw', 'hi'), 0, b'Hello')  # raw is no chat: its system does not count
        log = server.log()
        self.assertIn('max_tokens=5', log)
        self.assertNotIn('Be brief', log)

    def test_profile_is_chosen_and_must_be_there(self):
        self.check(self.run_ctl('config', 'set', 'think', 'off', '--profile', 'quick'), 0)
        server = self.serve(ANSWER)
        self.check(self.run_ctl('ask', '--profile=quick', 'hi'), 0)
        self.assertIn('THINKING_OFF', server.log())
        self.check(self.run_ctl('ask', '--profile=qick', 'hi'), 2, b'', 'did you mean quick?')
        self.check(self.run_ctl('config', 'get', 'think', '--profile', 'quick', '--show-origin'), 0,
                   f'{self.path()}:2\toff\n'.encode())

    def test_list_shows_where_from(self):
        self.check(self.run_ctl('config', 'set', 'temp', '0.5'), 0)
        self.env['QWENCTL_COLOR'] = 'never'
        done = self.run_ctl('config', 'list', '--show-origin')
        self.check(done, 0, f'{self.path()}:1\ttemp = 0.5\n$QWEND_SOCKET\tsocket = {self.env["QWEND_SOCKET"]}\n'
                            '$QWENCTL_COLOR\tcolor = never\n'.encode())
        self.check(self.run_ctl('config', 'unset', 'temp'), 0)
        self.assertNotIn(b'temp', self.run_ctl('config').stdout)

    def test_bad_file_stops_everything_but_help_and_repair(self):
        os.makedirs(os.path.dirname(self.path()))
        with open(self.path(), 'w', encoding='utf-8') as f:
            f.write('max-tokens = many\n')
        for args in (['status'], ['ask', 'hi'], ['config', 'list']):
            self.check(self.run_ctl(*args), 2, b'', f'{self.path()}:1: --max-tokens needs a whole number')
        self.check(self.run_ctl('help'), 0)
        self.check(self.run_ctl('config', 'set', 'max-tokens', '5'), 0)
        self.check(self.run_ctl('config', 'get', 'max-tokens'), 0, b'5\n')

    def test_faults_are_two(self):
        for args, says in ((['set', 'temp', 'hot'], 'needs a number'), (['set', 'tmp', '1'], 'did you mean temp?'),
                           (['set', 'temp'], 'set KEY VALUE'), (['get'], 'get KEY'), (['unset', 'temp'], 'not set in'),
                           (['set', 'system', ''], 'one line, not empty'), (['set', 'system', 'a\nb'], 'one line'),
                           (['set', 'temp', '1', '--profile', 'a]b'], 'without ]')):
            self.check(self.run_ctl('config', *args), 2, b'', says)


if __name__ == '__main__':
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
