"""qwenctl's dealings with models and other programs: pull, import, verify, models, inspect, log; doctor.

usage: test_qwenctl_models.py QWENCTL FAKE_SERVER QWEND_PROBE [unittest options]
"""
import hashlib
import http.server
import json
import os
import re
import shutil
import signal
import socket
import sys
import threading
import unittest

from test_qwenctl import LIMIT_S, QWENCTL, Case

PROBE = os.path.abspath(sys.argv[3])
GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), '../golden')
DEMO = os.path.join(GOLDEN, 'demo-Q4_K_M.gguf')
HAVE_PULL = os.path.exists(os.path.join(os.path.dirname(QWENCTL), 'qwenctl-pull'))


class Web(http.server.BaseHTTPRequestHandler):
    """Serves server.body under any name; server.gives: bytes after which it breaks off, the first time."""

    def do_GET(self):
        server, body, start = self.server, self.server.body, 0
        server.asked.append(self.headers.get('Range'))
        if self.path.startswith('/none'):
            self.send_error(404)
            return
        if self.path.startswith('/moved'):
            self.send_response(302)
            self.send_header('Location', '/m.gguf')
            self.end_headers()
            return
        if self.headers.get('Range') and server.has_ranges:
            start = int(self.headers['Range'].split('=')[1].rstrip('-'))
        self.send_response(416 if start >= len(body) else 206 if start else 200)
        if start:
            self.send_header('Content-Range', f'bytes {start}-{len(body) - 1}/{len(body)}')
        self.send_header('Content-Length', str(server.length or len(body) - start))
        self.end_headers()
        gives, server.gives = server.gives, None
        self.wfile.write(body[start:start + gives] if gives is not None else body[start:])
        self.wfile.flush()
        if gives is not None and server.waits:
            server.gave.set()
            server.waits.wait(LIMIT_S)
        self.close_connection = True

    def log_message(self, *_):
        pass


class Models(Case):
    def setUp(self):
        super().setUp()
        self.models = os.path.join(self.folder, 'models')
        self.env['PATH'] = os.path.dirname(PROBE) + ':' + self.env['PATH']

    def copy(self, name, **change):
        os.makedirs(self.models, exist_ok=True)
        path = os.path.join(self.models, name)
        shutil.copy(DEMO, path)
        if change:
            with open(path, 'r+b') as f:
                f.seek(change['at'])
                f.write(change['data'])
        return path

    @staticmethod
    def hash_of(path):
        with open(path, 'rb') as f:
            return hashlib.sha256(f.read()).hexdigest()


class Import(Models):
    def test_file_is_copied_with_its_hash(self):
        done = self.run_ctl('import', DEMO, '--into', self.models)
        path = os.path.join(self.models, 'demo-Q4_K_M.gguf')
        self.check(done, 0, path.encode() + b'\n')
        self.assertEqual(self.hash_of(path), self.hash_of(DEMO))
        with open(path + '.sha256', encoding='ascii') as f:
            self.assertEqual(f.read(), f'{self.hash_of(DEMO)}  demo-Q4_K_M.gguf\n')
        self.check(self.run_ctl('import', DEMO, '--into', self.models), 2, b'', 'is there already')
        self.check(self.run_ctl('verify', path), 0)
        self.assertEqual(sorted(os.listdir(self.models)), ['demo-Q4_K_M.gguf', 'demo-Q4_K_M.gguf.sha256'])

    def test_link_is_no_copy(self):
        source = self.copy('a.gguf')
        other = os.path.join(self.folder, 'other')
        self.check(self.run_ctl('import', '--link', '--into', other, source, '-q'), 0, b'')
        self.assertTrue(os.path.samefile(source, os.path.join(other, 'a.gguf')))

    def test_link_to_a_link_is_one_to_the_file(self):
        """Stores of others name a file by its hash and by a link; the link may go away."""
        source, named = self.copy('blob'), os.path.join(self.folder, 'named.gguf')
        os.symlink(source, named)
        self.check(self.run_ctl('import', '--link', '--into', self.models, named, '-q'), 0, b'')
        taken = os.path.join(self.models, 'named.gguf')
        self.assertFalse(os.path.islink(taken))
        self.assertTrue(os.path.samefile(source, taken))

    def test_what_is_no_model_is_two(self):
        text = os.path.join(self.folder, 'x.gguf')
        with open(text, 'w', encoding='utf-8') as f:
            f.write('text')
        for args, says in ((['import', text], 'is no GGUF file'), (['import', '/nonexistent'], 'No such file'), (['import'], 'takes a'),
                           (['import', self.folder], 'is no GGUF'), (['verify'], 'takes a'), (['verify', '/nonexistent'], 'No such')):
            self.check(self.run_ctl(*args), 2, b'', says)
        shutil.copy(DEMO, os.path.join(self.folder, 'model.bin'))
        self.check(self.run_ctl('import', os.path.join(self.folder, 'model.bin'), '--into', self.models), 2, b'', 'ends in .gguf')

    def test_damage_is_one(self):
        path = self.copy('a.gguf')
        self.check(self.run_ctl('verify', path), 0)
        with open(path + '.sha256', 'w', encoding='ascii') as f:
            f.write(f'{self.hash_of(path)}  a.gguf\n')
        self.assertEqual(self.run_ctl('verify', path).stdout.split()[0], b'ok')
        self.copy('a.gguf', at=2000000, data=b'x')
        done = self.run_ctl('verify', path)
        self.check(done, 1)
        self.assertRegex(done.stdout.decode(), r'fail +sha256 +[0-9a-f]{64}, it was [0-9a-f]{64}\nok +structure')
        os.truncate(path, 100000)
        self.assertRegex(self.run_ctl('verify', path).stdout.decode(), r'fail +structure +qwend-probe cannot read it')

    def test_no_name_of_a_file_is_obeyed(self):
        self.env['XDG_DATA_HOME'] = self.folder
        folder = os.path.join(self.folder, 'qwend/models')
        os.makedirs(folder, exist_ok=True)
        shutil.copy(DEMO, os.path.join(folder, 'a\x1b]0;me\x07\nb.gguf'))
        listed = self.run_ctl('models').stdout
        self.assertIn(b'a^[]0;me^G?b.gguf', listed)
        self.assertNotIn(b'\x1b', listed)

    def test_models_are_listed_and_the_served_one_marked(self):
        self.env['XDG_DATA_HOME'] = self.folder
        folder = os.path.join(self.folder, 'qwend')
        self.check(self.run_ctl('import', DEMO, '--into', os.path.join(folder, 'models'), '-q'), 0)
        self.check(self.run_ctl('models'), 0)
        server = self.serve('accept\nawait Status\nsend StatusReply+end state=SERVING model={file="demo-Q4_K_M.gguf"}\neof\n')
        listed = json.loads(self.run_ctl('models', '--json').stdout)['models']
        server.log()
        mine = [m for m in listed if m['file'].startswith(folder)]
        self.assertEqual(mine, [{'file': os.path.join(folder, 'models/demo-Q4_K_M.gguf'), 'bytes': os.path.getsize(DEMO),
                                 'sha256': self.hash_of(DEMO), 'served': True}])
        self.assertIn(self.hash_of(DEMO)[:12].encode(), self.run_ctl('models').stdout)
        self.check(self.run_ctl('models', '-q'), 0, os.path.basename(DEMO).encode() + b'\n')


@unittest.skipUnless(HAVE_PULL, 'built without libcurl')
class Pull(Models):
    def setUp(self):
        super().setUp()
        self.web = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Web)
        self.web.daemon_threads = True
        self.web.asked, self.web.gives, self.web.waits, self.web.length, self.web.has_ranges = [], None, None, None, True
        self.web.gave = threading.Event()
        with open(DEMO, 'rb') as f:
            self.web.body = f.read()
        thread = threading.Thread(target=self.web.serve_forever, kwargs={'poll_interval': 0.05}, daemon=True)
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(self.web.server_close)
        self.addCleanup(self.web.shutdown)
        self.env['no_proxy'] = '*'

    def argv(self, *args, name='m.gguf'):
        return ['pull', '--into', self.models, *args, f'http://127.0.0.1:{self.web.server_port}/{name}']

    def pull(self, *args, **more):
        return self.run_ctl(*self.argv(*args, **more))

    def pinned(self):
        return ['--sha256', hashlib.sha256(self.web.body).hexdigest()]

    def test_file_arrives_with_its_hash(self):
        path = os.path.join(self.models, 'm.gguf')
        self.check(self.pull(*self.pinned()), 0, path.encode() + b'\n')
        self.assertEqual(self.hash_of(path), self.hash_of(DEMO))
        self.assertEqual(sorted(os.listdir(self.models)), ['m.gguf', 'm.gguf.sha256'])
        self.check(self.run_ctl('verify', path), 0)
        self.check(self.pull(*self.pinned()), 2, b'', 'is there already')
        done = self.pull('--unpinned', '-v', name='moved/other.gguf')
        self.check(done, 0, os.path.join(self.models, 'other.gguf').encode() + b'\n', 'not compared with anything')

    def test_broken_off_goes_on(self):
        self.web.gives = 1000000
        self.check(self.pull(*self.pinned()), 10, b'', 'the same command goes on with it')
        self.assertEqual(os.path.getsize(os.path.join(self.models, 'm.gguf.part')), 1000000)
        self.check(self.pull(*self.pinned()), 0)
        self.assertEqual(self.web.asked, [None, 'bytes=1000000-'])

    def test_server_without_ranges_begins_anew(self):
        self.web.has_ranges = False
        self.web.gives = 1000000
        self.check(self.pull(*self.pinned()), 10)
        self.check(self.pull(*self.pinned()), 0)

    def test_everything_is_there_already(self):
        os.makedirs(self.models)
        shutil.copy(DEMO, os.path.join(self.models, 'm.gguf.part'))
        self.check(self.pull(*self.pinned()), 0)

    def test_other_bytes_are_thrown_away(self):
        self.check(self.pull('--sha256', '0' * 64), 1, b'', f'its sha256 is {self.hash_of(DEMO)}')
        self.assertEqual(os.listdir(self.models), [])
        self.web.body = b'<html>no model</html>'
        self.check(self.pull('--unpinned'), 1, b'', 'no GGUF file')
        self.assertEqual(os.listdir(self.models), [])

    def test_disk_without_room_is_said_before(self):
        self.web.length = 1 << 60
        self.web.gives = 1000
        self.check(self.pull(*self.pinned()), 10, b'', 'has room for')

    def test_interrupt_keeps_what_came(self):
        self.web.gives, self.web.waits = 1000000, threading.Event()
        process = self.start(*self.argv(*self.pinned(), '-v'))
        self.assertTrue(self.web.gave.wait(LIMIT_S))
        while os.path.getsize(os.path.join(self.models, 'm.gguf.part')) < 1000000:
            process.stderr.readline()  # it says twice a second how far it is
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=LIMIT_S)
        self.web.waits.set()
        self.assertEqual(process.returncode, 130)
        self.assertIn(b'goes on where this one stopped', err)
        self.check(self.pull(*self.pinned()), 0)

    def test_two_at_once_are_refused(self):
        self.web.gives, self.web.waits = 1000, threading.Event()
        process = self.start(*self.argv(*self.pinned()))
        self.assertTrue(self.web.gave.wait(LIMIT_S))
        self.check(self.pull(*self.pinned()), 5, b'', 'by another qwenctl')
        process.terminate()
        self.web.waits.set()
        process.communicate(timeout=LIMIT_S)
        self.assertEqual(process.returncode, 143)

    def test_faults_are_told_apart(self):
        self.check(self.pull(*self.pinned(), name='none.gguf'), 10, b'', '404')
        for args, name, says in (([], 'm.gguf', '--unpinned'), (['--sha256', 'abc'], 'm.gguf', '64 hexadecimal'),
                                 (['--unpinned'], 'm.bin', 'must end in a name'), (['--unpinned'], '..gguf', 'must end in a name'),
                                 (['--unpinned'], 'a%2fb.gguf', 'must end in a name'), (['--nonsense'], 'm.gguf', 'unknown option')):
            self.check(self.pull(*args, name=name), 2, b'', says)
        self.check(self.run_ctl('pull', '--unpinned', 'file:///etc/x.gguf'), 2, b'', 'no http:// or https://')
        self.check(self.run_ctl('pull', '--unpinned', 'http://127.0.0.1:1/m.gguf', '--into', self.models), 10, b'', 'onnect')
        self.check(self.run_ctl('-q', 'pull', 'http://x/m.gguf'), 2, b'', 'first word')


class Programs(Models):
    def test_probe_gets_what_stands_behind(self):
        whole = json.loads(self.run_ctl('inspect', DEMO, '--json', '--ctx', '64').stdout)
        self.assertEqual((whole['model']['n_layers'], whole['model']['memory']['ctx']), (4, 64))
        self.assertEqual(self.run_ctl('bench').returncode, 2)
        self.assertEqual(self.run_ctl('eval').returncode, 2)
        self.check(self.run_ctl('inspect', '--help'), 0, None)

    def test_log_is_journalctl(self):
        path = os.path.join(self.folder, 'journalctl')
        with open(path, 'w', encoding='utf-8') as f:
            f.write('#!/bin/sh\nprintf "%s|" "$@"\n')
        os.chmod(path, 0o755)
        self.env['PATH'] = self.folder + ':' + self.env['PATH']
        self.check(self.run_ctl('log', '-f', '--since', 'x y'), 0, b'--unit|qwend.service|-f|--since|x y|')

    def test_missing_program_is_said(self):
        self.env['PATH'] = '/nonexistent'
        self.check(self.run_ctl('log'), 10, b'', 'journalctl is not installed')
        self.check(self.run_ctl('verify', DEMO), 10, None, 'qwend-probe is not installed')


class Doctor(Case):
    def checks(self, *args):
        done = self.run_ctl('doctor', '--json', *args)
        whole = json.loads(done.stdout)
        self.assertEqual(done.returncode, 0 if whole['ok'] else 1)
        return {check['id']: check for check in whole['checks']}

    IDS = ['client.config', 'client.state', 'client.files', 'client.socket', 'machine.cpu', 'machine.cgroup', 'machine.disk',
           'machine.hugepages', 'machine.gpu', 'machine.gpu-engine', 'service.connect', 'service.version', 'service.state',
           'service.backend', 'service.engine', 'service.memory', 'service.answer']
    SERVICE = IDS.index('service.connect')

    def test_without_a_daemon_the_service_fails(self):
        checks = self.checks()
        self.assertEqual(list(checks), self.IDS)
        self.assertEqual(checks['service.connect']['state'], 'fail')
        self.assertIn('systemctl start', checks['service.connect']['remedy'])
        self.assertEqual({checks[i]['state'] for i in self.IDS[self.SERVICE + 1:]}, {'skip'})
        done = self.run_ctl('doctor')
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stdout.decode(), r'(?m)^fail  service\.connect .*\n +do: systemctl start')

    def script(self, fields, answer):
        return f'accept\nawait Status\nsend StatusReply+end {fields}\n{answer}eof\n'

    def test_healthy_service_is_asked(self):
        server = self.serve(self.script('state=SERVING server="qwend 0.1.0" backend="cpu" isa="avx2" weights_locked=1 '
                                        'weights_bytes=1048576', 'await Generate\nsay "yes"\nsend Usage+end answer_tokens=1 '
                                        'finish=FINISH_STOP\n'))
        checks = self.checks()
        self.assertEqual({checks[i]['state'] for i in self.IDS[self.SERVICE:]}, {'ok'})
        self.assertNotIn('remedy', checks['service.answer'])
        self.assertIn('max_tokens=16', server.log())

    def test_ids_are_in_the_manual(self):
        with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), '../../client/qwenctl/verbs.scd'), encoding='utf-8') as f:
            chapter = f.read().split('\n# doctor\n')[1].split('\n# ')[0]
        self.assertEqual(re.findall(r'(?m)^\*((?:client|machine|service)\.[a-z-]+)\*$', chapter), self.IDS)

    def tree(self):
        """Everything in the home: modes, and of files the bytes."""
        found = {}
        for folder, folders, files in os.walk(self.folder):
            for name in folders + files:
                path = os.path.join(folder, name)
                st = os.lstat(path)
                found[os.path.relpath(path, self.folder)] = (oct(st.st_mode), st.st_mtime_ns, st.st_size)
        return found

    def put(self, path, mode, text='x\n'):
        path = os.path.join(self.folder, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, 'w', encoding='utf-8') as f:
            f.write(text)
        os.chmod(path, mode)
        return path

    def leave_a_socket(self):
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(self.env['QWEND_SOCKET'])

    def test_nothing_is_touched_unasked(self):
        self.checks()
        self.assertEqual(self.tree(), {})
        self.put('.local/state/qwend/sessions/plan.ndjson', 0o644)
        self.env['XDG_RUNTIME_DIR'] = self.folder
        self.leave_a_socket()
        before = self.tree()
        checks = self.checks()
        self.assertEqual([checks[i]['state'] for i in ('client.files', 'client.socket')], ['warn', 'warn'])
        self.assertIn('qwenctl doctor --fix, which does: rm ' + self.env['QWEND_SOCKET'], checks['client.socket']['remedy'])
        self.assertEqual(self.tree(), before)

    def test_fix_mends_modes_and_says_so(self):
        paths = [self.put('.local/state/qwend/sessions/plan.ndjson', 0o644), self.put('.local/state/qwend/chat_history', 0o640)]
        conf = self.put('.config/qwend/qwenctl.conf', 0o666, 'max-tokens = 5\n')
        odd = self.put(".local/state/qwend/sessions/it's.ndjson", 0o604)
        link = os.path.join(self.folder, '.local/state/qwend/sessions/link.ndjson')
        os.symlink(self.put('elsewhere', 0o644), link)
        done = self.run_ctl('doctor', '--fix')
        quoted = odd.replace("'", "'\\''")
        for text in (f'did: chmod 0600 {paths[0]}\n', f'did: chmod 0600 {paths[1]}\n', f'did: chmod 0644 {conf}\n',
                     f"did: chmod 0600 '{quoted}'\n"):
            self.assertIn(text, done.stdout.decode())
        self.assertRegex(done.stdout.decode(), r'(?m)^ok    client\.files ')
        for path, mode in ((paths[0], 0o600), (paths[1], 0o600), (conf, 0o644), (odd, 0o600), (link, 0o644)):
            self.assertEqual(oct(os.stat(path).st_mode & 0o777), oct(mode), path)
        before = self.tree()
        checks = self.checks('--fix')
        self.assertNotIn('did', checks['client.files'])
        self.assertEqual(self.tree(), before)

    def test_fix_follows_no_link_to_a_folder(self):
        own = self.put('web/page.html', 0o644)
        for link, target in (('sessions', 'web'), ('', 'web/state')):
            self.put('web/state/sessions/page.html', 0o644)
            place = os.path.join(self.folder, '.local/state/qwend', link).rstrip('/')
            os.makedirs(os.path.dirname(place), exist_ok=True)
            os.symlink(os.path.join(self.folder, target), place)
            os.chmod(os.path.join(self.folder, 'web/state'), 0o555)
            before = self.tree()
            checks = self.checks('--fix')
            self.assertEqual([checks[i].get('did') for i in ('client.state', 'client.files')], [None, None])
            self.assertEqual(self.tree(), before)
            os.chmod(os.path.join(self.folder, 'web/state'), 0o755)
            shutil.rmtree(os.path.join(self.folder, '.local'))
        self.assertEqual(os.stat(own).st_mode & 0o777, 0o644)

    def test_fix_goes_on_where_the_list_is_full(self):
        paths = [self.put(f'.local/state/qwend/sessions/{i}.ndjson', 0o644) for i in range(150)]
        self.assertRegex(self.checks()['client.files']['finding'], r'\b15[12]\b')
        self.assertEqual(self.checks('--fix')['client.files']['state'], 'ok')
        self.assertEqual({os.stat(path).st_mode & 0o777 for path in paths}, {0o600})

    def test_fix_removes_a_dead_socket_and_no_other(self):
        path = self.env['QWEND_SOCKET']
        self.leave_a_socket()
        self.assertEqual(self.checks('--fix')['client.socket']['did'], [f'rm {path}'])
        self.assertFalse(os.path.exists(path))
        self.serve('accept\nclose\naccept\nclose\n')
        self.assertEqual(self.checks('--fix')['client.socket']['state'], 'ok')
        self.assertTrue(os.path.exists(path))
        os.unlink(path)
        self.put('sock', 0o644)
        self.assertEqual(self.checks('--fix')['client.socket']['state'], 'ok')
        self.assertTrue(os.path.exists(path))

    def test_fix_makes_the_folder_of_a_daemon_of_ones_own(self):
        if os.path.exists('/run/qwend/qwend.sock'):
            self.skipTest('this machine has a daemon')
        del self.env['QWEND_SOCKET']
        self.env['XDG_RUNTIME_DIR'] = self.folder
        folder = os.path.join(self.folder, 'qwend')
        self.assertEqual(self.checks()['client.socket']['state'], 'warn')
        self.assertFalse(os.path.exists(folder))
        self.assertEqual(self.checks('--fix')['client.socket']['did'], [f'mkdir -m 0700 {folder}'])
        self.assertEqual(oct(os.stat(folder).st_mode & 0o777), '0o700')

    def test_fix_makes_no_folder_where_another_user_is_at_home(self):
        if os.path.exists('/run/qwend/qwend.sock'):
            self.skipTest('this machine has a daemon')
        del self.env['QWEND_SOCKET']
        self.env['XDG_RUNTIME_DIR'] = os.path.join(self.folder, 'run') if os.geteuid() == 0 else '/'
        if os.geteuid() == 0:
            os.mkdir(self.env['XDG_RUNTIME_DIR'])
            os.chown(self.env['XDG_RUNTIME_DIR'], 4111222, 4111222)
        self.assertEqual(self.checks('--fix')['client.socket']['state'], 'ok')
        self.assertFalse(os.path.exists(os.path.join(self.env['XDG_RUNTIME_DIR'], 'qwend')))

    @unittest.skipIf(os.geteuid() == 0, 'root is kept out of nothing')
    def test_fix_lets_the_owner_in_again(self):
        path = os.path.dirname(self.put('.local/state/qwend/sessions/plan.ndjson', 0o600))
        os.chmod(path, 0o500)
        self.assertEqual(self.checks()['client.state']['state'], 'warn')
        self.assertEqual(self.checks('--fix')['client.state']['did'], [f'chmod 0700 {path}'])

    def test_administrator_gets_a_line_to_paste(self):
        self.serve(self.script('state=SERVING server="qwend 9.9" weights_bytes=9', 'await Generate\nsend Usage+end\n'))
        done = self.run_ctl('doctor')
        self.assertIn('administrator: sudo qwenctl upgrade\n', done.stdout.decode())
        self.assertIn('do: start qwend behind ulimit -l unlimited\n', done.stdout.decode())  # it is no service of the system's

    def test_fall_back_is_told_with_its_reason(self):
        note = 'backend auto: no GPU holds the weights; the CPU serves'
        self.serve(self.script(f'state=SERVING server="qwend 0.1.0" backend="cpu" note="{note}"', 'await Generate\nsend Usage+end\n'))
        backend = self.checks()['service.backend']
        self.assertIn(note, backend['finding'])

    def test_each_fault_has_its_check(self):
        for fields, answer, check, state in (
                ('state=FAILED note="no file"', '', 'service.state', 'fail'),
                ('state=LOADING', '', 'service.answer', 'skip'),
                ('state=SERVING server="qwend 9.9"', 'await Generate\nsend Error+end code=504 text="broken"\n', 'service.answer', 'fail'),
                ('state=SERVING server="qwend 9.9"', 'await Generate\nclose\n', 'service.version', 'warn'),
                ('state=DEGRADED note="no GPU" engine_restarts=2 weights_bytes=9', 'await Generate\nsend Usage+end\n', 'service.engine', 'warn'),
                ('state=DEGRADED note="no GPU" weights_bytes=9', 'await Generate\nsend Usage+end\n', 'service.memory', 'warn'),
                ('state=DEGRADED note="no GPU"', 'await Generate\nsend Usage+end\n', 'service.backend', 'warn')):
            server = self.serve(self.script(fields, answer))
            checks = self.checks()
            self.assertEqual((check, checks[check]['state']), (check, state), checks)
            server.process.kill()
            server.process.wait()
            os.unlink(self.env['QWEND_SOCKET'])

    def test_broken_configuration_is_found(self):
        os.makedirs(os.path.join(self.folder, '.config/qwend'))
        with open(os.path.join(self.folder, '.config/qwend/qwenctl.conf'), 'w', encoding='utf-8') as f:
            f.write('tmp = 1\n')
        self.assertEqual(self.checks()['client.config']['state'], 'fail')


if __name__ == '__main__':
    unittest.main(argv=[sys.argv[0], *sys.argv[4:]])
