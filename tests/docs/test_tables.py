"""What several texts say of one table: the keys of the two configurations, the verbs of qwend-probe.

usage: test_tables.py QWEND_PROBE PAGES_FOLDER [unittest options]; the folder has the sources of the manual pages as the build made them
"""
import os
import re
import subprocess
import sys
import unittest

PROBE, PAGES = (os.path.abspath(path) for path in sys.argv[1:3])
SOURCE = os.path.abspath(os.path.join(os.path.dirname(__file__), '../..'))


def read(*path):
    with open(os.path.join(*path), encoding='utf-8') as f:
        return f.read()


def plain(scdoc):
    """Without markup; an underscore inside of a word is none."""
    return re.sub(r'\\(.)', r'\1', re.sub(r'(?<!\\)\*|(?<![\\\w])_|(?<!\\)_(?!\w)', '', scdoc))


def keys_of_page(page, *sections):
    """{key: default, or None where it is told in words}, of the chapters with these names."""
    keys = {}
    for chapter in re.split(r'(?m)^# ', read(PAGES, page)):
        if any(section in chapter.split('\n', 1)[0] for section in sections):
            for name, text in re.findall(r'(?m)^\*(\S+)\* = .*\n((?:\t.*\n)+)', chapter):
                told = re.search(r'(?m)^\tDefault: (.*)\.$', text)
                keys[plain(name)] = plain(told[1]) if told else None
    return keys


def keys_of_table(document, heading):
    """The same of the tables of a chapter of a document whose first column is called key."""
    text = read(SOURCE, 'docs', document)
    text = text[text.index('\n' + heading):]
    text = text[:text.index('\n## ', 1)]
    keys = {}
    for names, default in re.findall(r'(?m)^\| (`[^|]*) \| ([^|]*) \|', text):
        names = re.findall('`([^`]+)`', names)
        defaults = default.split(', ') if len(names) > 1 else [default]
        for i, name in enumerate(names):
            keys[name] = defaults[min(i, len(defaults) - 1)].strip('`')
    return keys


def keys_of_file(name):
    """What a configuration file as it is installed shows as defaults, of its first section."""
    text = read(SOURCE, 'systemd', name)
    text = re.split(r'(?m)^;\[', text)[0]
    return {key: None if mark == '' else value for mark, key, value in re.findall(r'(?m)^(;?)(\w+) =(?: (.*))?$', text)}


class Tables(unittest.TestCase):
    def check(self, keys, others, where):
        self.assertEqual(sorted(keys), sorted(others), where)
        n = 0
        for key, default in keys.items():
            if default is not None and others[key] and re.fullmatch(r'[\w./-]+', others[key]):
                self.assertEqual(others[key], default, (where, key))
                n += 1
        self.assertGreater(n, len(keys) // 3, where)

    def test_qwend_conf(self):
        keys = keys_of_page('qwend.conf.5.scd', '[daemon]')
        self.assertGreater(len(keys), 20)
        self.check(keys, {**keys_of_file('qwend.conf'), 'metrics': None, 'model': None}, 'qwend.conf')
        documented = keys_of_table('OPERATIONS.md', '## 3')
        classes = keys_of_page('qwend.conf.5.scd', '[class NAME]')
        self.assertGreater(len(classes), 10)
        self.check({**classes, **keys, 'max_mib': None}, documented, 'OPERATIONS.md')  # two keys are called max_mib

    def test_qwend_http_conf(self):
        path = os.path.join(PAGES, 'qwend-http.conf.5.scd')
        if not os.path.exists(path):
            self.skipTest('no gateway in this build')
        keys = keys_of_page('qwend-http.conf.5.scd', 'DESCRIPTION')
        self.assertGreater(len(keys), 20)
        self.check(keys, keys_of_file('qwend-http.conf'), 'qwend-http.conf')
        documented = {**keys_of_table('GATEWAY.md', '## 5'), **keys_of_table('GATEWAY.md', '## 4')}
        self.check(keys, {**documented, 'allow_root': None, 'verbose': None}, 'GATEWAY.md')

    def test_qwend_probe(self):
        help_text = subprocess.run([PROBE, 'help'], capture_output=True, text=True, check=True).stdout
        page = ''.join(plain(read(PAGES, 'qwend-probe.1.in')).split())
        verbs = re.findall(r'(?m)^  (\S.*)\n        (.*)$', help_text)
        self.assertGreater(len(verbs), 8)
        for usage, meaning in verbs:
            self.assertIn(''.join((usage + meaning).split()), page, usage)
        self.assertEqual(len(verbs), len(re.findall(r'(?m)^\*\w+\* .*\n\t', read(PAGES, 'qwend-probe.1.in').split('# OPTIONS')[0])))


if __name__ == '__main__':
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
