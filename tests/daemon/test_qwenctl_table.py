"""The table of verbs and options: parser, help, man page and the completions of three shells tell the same.

usage: test_qwenctl_table.py QWENCTL FAKE_SERVER QWENCTL_DOC CHAPTERS [unittest options]
"""
import json
import os
import re
import shutil
import subprocess
import sys
import unittest

from test_qwenctl import QWENCTL, Case

DOC, CHAPTERS = (os.path.abspath(path) for path in sys.argv[3:5])
TABLE = json.loads(subprocess.run([QWENCTL, 'help', '--json'], capture_output=True, check=True).stdout)
PASSING = {verb['name'] for verb in TABLE['verbs'] if verb['passes']}
VERBS = [verb['name'] for verb in TABLE['verbs']]
SAMPLES = {'N': '1', 'X': '0.5', 'TIME': '1s'}  # a good value by the name that values have in the help


def output(*argv, **more):
    return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60, **more).stdout


def options_of(verb):
    return [option for option in TABLE['options'] if verb in option['verbs']]


def spelled(option):
    """As the help has it."""
    letter = f'-{option["letter"]}, ' if 'letter' in option else '    '
    value = option.get('value')
    return f'{letter}--{option["name"]}' + (f'[={value}]' if option['value_optional'] else f' {value}' if value else '')


def plain(scdoc):
    """The text of a man page's source without markup."""
    parts = scdoc.split('```\n')
    parts[::2] = [re.sub(r'(?<!\\)[*_]', '', part) for part in parts[::2]]  # the others are literal
    return '\n'.join(re.sub(r'\\(.)', r'\1', part) for part in parts)


class Agreement(Case):
    def test_table_is_whole(self):
        self.assertGreater(len(VERBS), 10)
        self.assertGreater(len(TABLE['options']), 30)
        for option in TABLE['options']:
            self.assertTrue(option['verbs'] and option['help'], option)
        names = {}
        for option in TABLE['options']:  # one name twice: for other verbs, and the value in the same place
            for other in names.setdefault(option['name'], []):
                self.assertFalse(set(other['verbs']) & set(option['verbs']), option)
                self.assertEqual('value' in other, 'value' in option)
            names[option['name']].append(option)
        for verb in VERBS:
            letters = [option['letter'] for option in options_of(verb) if 'letter' in option]
            self.assertEqual(len(letters), len(set(letters)), verb)

    def test_help_has_each_option_on_a_line_of_eighty(self):
        for verb in VERBS:
            text = output(QWENCTL, verb, '--help')
            self.assertIn(f'Usage: qwenctl {verb}', text)
            for line in text.splitlines():
                self.assertLessEqual(len(line), 80, line)
            shown = re.findall(r'(?m)^  (-.|  ).. ?--([a-z0-9-]+)', text)
            self.assertEqual(sorted(name for _, name in shown), sorted(o['name'] for o in options_of(verb)))
            for option in options_of(verb):
                self.assertRegex(text, '(?m)^' + re.escape(f'  {spelled(option)} ') + ' *' + re.escape(option['help']) + '$')

    def test_every_help_page_fits_eighty_columns(self):
        for topic in ['', *TABLE['topics']]:
            for line in output(QWENCTL, 'help', *([topic] if topic else [])).splitlines():
                self.assertLessEqual(len(line), 80, line)

    def test_parser_takes_each_option_of_its_verbs_and_no_other(self):
        def run(verb, options):
            argv = []
            for option in options:
                value = (option['choices'] or [SAMPLES.get(option.get('value'), 'x')])[0]
                argv.append('--' + option['name'] + (f'={value}' if 'value' in option else ''))
            return self.run_ctl(verb, '--help', *argv)

        for verb in VERBS:
            self.check(run(verb, [option for option in options_of(verb) if option['name'] != 'version']), 0)
            if verb in PASSING:
                continue
            self.check(self.run_ctl(verb, '--version'), 0)
            mine = {option['name'] for option in options_of(verb)}
            others = [option for option in TABLE['options'] if option['name'] not in mine]
            for option in others[VERBS.index(verb)::len(VERBS)]:  # each of them with some verb
                self.check(run(verb, [option]), 2, b'', f'{verb} has no option --{option["name"]}')

    def test_overview_has_each_verb_topic_and_code(self):
        page = plain(output(DOC))
        for verb in TABLE['verbs']:
            self.assertIn(f'\nqwenctl-{verb["name"]}(1)\n\t{verb["summary"]}\n', page)
        for option in TABLE['options']:
            if option['every_verb']:
                self.assertIn(f'\n{spelled(option).strip()}\n\t{option["help"]}\n', page)
        for topic in TABLE['topics']:
            self.assertIn(f'\n# {topic.upper().replace("-", " ")}\n', page)
        for code, meaning in TABLE['exit_codes'].items():
            self.assertRegex(page, rf'(?m)^{code} +{re.escape(meaning)}$')

    def test_page_of_each_verb_has_what_its_help_has(self):
        with open(CHAPTERS, encoding='utf-8') as f:
            self.assertEqual(sorted(re.findall('(?m)^# (.*)$', f.read())), sorted(VERBS))
        for verb in TABLE['verbs']:
            name = verb['name']
            page, text = plain(output(DOC, CHAPTERS, name)), output(QWENCTL, name, '--help')
            self.assertEqual(text, output(QWENCTL, 'help', name))
            summary = verb['summary'][0].lower() + verb['summary'][1:]
            self.assertTrue(page.startswith(f'QWENCTL-{name.upper()}(1) '), page)
            self.assertIn(f'\nqwenctl-{name} - {summary}\n', page)
            usage = page[page.index('# SYNOPSIS\n\n') + 12:page.index('\n\n# DESCRIPTION')]
            self.assertEqual('Usage: ' + usage, text.split('\n', 1)[0])
            self.assertIn('Exit codes:', text)
            more = text.split('\n\n')[1:-1] if '\n\n' in text else []
            flowing = ' '.join(page.split())
            for paragraph in more:  # text, examples, options
                for line in paragraph.splitlines():
                    if not line.startswith('  -') and not line.startswith('      --') and line != 'Options:':
                        self.assertIn(' '.join(line.split()), flowing, (name, line))
            for option in options_of(name):
                entry = f'\n{spelled(option).strip()}\n\t{option["help"]}\n'
                self.assertEqual(entry in page, not option['every_verb'], (name, option['name']))
            codes = re.findall(r'(?m)^(\d+)\n\t(.*)$', page)
            self.assertEqual(codes, re.findall(r'(?m)^  (\d+) +(.*)$', text[text.index('Exit codes:'):]))
            self.assertEqual([int(code) for code, _ in codes], verb['exit_codes'])

    def test_chapters_that_are_wrong_fail_the_build(self):
        def fails(verb, text):
            done = subprocess.run([DOC, self.chapters(text), verb], capture_output=True, text=True, timeout=60, check=False)
            self.assertEqual((done.returncode != 0, done.stdout), (True, ''))
            return done.stderr

        self.assertIn('no chapter "# ask"', fails('ask', '# asking\nx\n'))
        self.assertIn('no chapter "# ask"', fails('ask', 'text # ask\nx\n'))
        self.assertIn('no such verb', fails('asks', '# asks\nx\n'))
        self.assertIn('x\n', output(DOC, self.chapters('# as\nb\n# ask\nx'), 'ask'))

    def chapters(self, text):
        path = os.path.join(self.folder, 'chapters')
        with open(path, 'w', encoding='utf-8') as f:
            f.write(text)
        return path


class Completion(Case):
    def bash(self, *words):
        """What bash offers for the last of these words, which are as it splits them."""
        script = ('eval "$("$1" completion bash)"; shift; COMP_WORDS=(qwenctl "$@"); COMP_CWORD=$#; _qwenctl; '
                  'printf "%s\\n" "${COMPREPLY[@]}"')
        return sorted(output('bash', '--norc', '-c', script, 'bash', QWENCTL, *words, env=self.env, cwd=self.folder).split('\n')[:-1])

    def test_bash_offers_verbs_and_options(self):
        self.assertEqual(self.bash(''), sorted(VERBS))
        self.assertEqual(self.bash('to'), ['tokenize', 'top'])
        for verb in VERBS:
            self.assertEqual(self.bash(verb, '--'), sorted('--' + option['name'] for option in options_of(verb)) or [''])

    def test_bash_offers_values(self):
        for option in TABLE['options']:
            if option['choices']:
                words = [option['verbs'][0], '--' + option['name'], '=', '']
                self.assertEqual(self.bash(*words), sorted(option['choices']))
                self.assertEqual(self.bash(*words[:-2], ''), sorted(option['choices'] if not option['value_optional'] else ['']))
        self.assertEqual(self.bash('ask', '--color', '=', 'a'), ['always', 'auto'])
        self.assertEqual(self.bash('ask', '--color', '='), ['always', 'auto', 'never'])

    def test_bash_finds_the_verb_behind_options(self):
        self.assertEqual(self.bash('--socket', 'ask', 'cancel', '--m'), ['--mine'])
        self.assertEqual(self.bash('--socket', '=', 'x', '-q', 'cancel', '--m'), ['--mine'])
        self.assertEqual(self.bash('completion', ''), ['bash', 'fish', 'zsh'])
        self.assertEqual(self.bash('help', 'as'), ['ask'])
        self.assertEqual(self.bash('nonsense', ''), [''])

    def test_bash_offers_files_and_requests(self):
        with open(os.path.join(self.folder, 'notes one.txt'), 'w', encoding='utf-8') as f:
            f.write('x')
        self.assertEqual(self.bash('ask', '-f', 'no'), ['notes one.txt'])
        self.assertEqual(self.bash('ask', '--file', '=', 'no'), ['notes one.txt'])
        self.assertEqual(self.bash('attach', ''), [''])  # no daemon: nothing, and no word of it

    def test_bash_offers_names_of_models_beside_files(self):
        self.env['PATH'] = os.path.dirname(QWENCTL) + ':' + self.env['PATH']
        folder = os.path.join(self.folder, '.local/share/qwend/models')
        os.makedirs(folder)
        for path in (os.path.join(folder, 'Qwen-a.gguf'), os.path.join(self.folder, 'Qwen-b.gguf')):
            with open(path, 'w', encoding='utf-8') as f:
                f.write('x')
        self.assertEqual(self.bash('use', 'Qwen'), ['Qwen-a.gguf', 'Qwen-b.gguf'])
        self.assertEqual(self.bash('use', '--no-wait', 'Qwen-a'), ['Qwen-a.gguf'])

    @unittest.skipUnless(shutil.which('fish'), 'no fish')
    def test_fish_offers_the_same(self):
        path = os.path.join(self.folder, 'q.fish')
        with open(path, 'w', encoding='utf-8') as f:
            f.write(output(QWENCTL, 'completion', 'fish'))
        lines = ['qwenctl ', *(f'qwenctl {verb} --' for verb in VERBS), 'qwenctl ask --color=']
        script = f'source {path}\n' + ''.join(f'echo "@"; complete -C"{line}"\n' for line in lines)
        parts = output('fish', '--no-config', '-c', script, env=self.env).split('@\n')[1:]
        offers = [sorted({line.split('\t')[0] for line in part.splitlines()}) for part in parts]
        self.assertEqual(offers[0], sorted(VERBS))
        self.assertEqual(offers[-1], ['--color=always', '--color=auto', '--color=never'])
        for verb, offer in zip(VERBS, offers[1:]):
            wanted = {'--' + o['name'] + ('=' if o['choices'] else '') for o in options_of(verb)}
            self.assertEqual({word.rstrip('=') for word in offer}, {word.rstrip('=') for word in wanted}, verb)

    def test_zsh_has_the_same(self):
        script = output(QWENCTL, 'completion', 'zsh')
        if shutil.which('zsh'):
            output('zsh', '-n', '-c', script)
        for verb in TABLE['verbs']:
            summary = verb['summary'].replace("'", "'\\''")
            self.assertIn(f"        '{verb['name']}:{summary}'\n", script)
            start = script.index(f'    {verb["name"]})\n')
            chapter = script[start:script.index(' ;;\n', start)]
            found = re.findall(r'--([a-z0-9-]+)(?:=-?)?[}\[]', chapter)
            self.assertEqual(sorted(set(found)), sorted({option['name'] for option in options_of(verb['name'])}))

    def test_unknown_shell_is_two(self):
        self.check(self.run_ctl('completion', 'tcsh'), 2, b'', 'bash, zsh or fish')
        self.check(self.run_ctl('completion'), 2, b'', 'bash, zsh or fish')


class Words(Case):
    def test_typing_errors_are_guessed(self):
        for args, says in ((['aks'], 'did you mean ask?'), (['--color=never', 'stauts'], 'did you mean status?'),
                           (['help', 'exit-code'], 'did you mean exit-codes?'), (['help', 'chta'], 'did you mean chat?'),
                           (['ask', '--sytem', 'x', 'y'], 'did you mean --system? (see qwenctl help ask)'),
                           (['cancel', '--mien'], 'did you mean --mine?')):
            done = self.run_ctl(*args)
            self.check(done, 2, b'', says)
            for line in done.stderr.decode().splitlines():
                self.assertLessEqual(len(line), 80, line)

    def test_program_on_the_path_is_a_verb(self):
        folder = os.path.join(self.folder, 'bin')
        os.mkdir(folder)
        path = os.path.join(folder, 'qwenctl-hello')
        with open(path, 'w', encoding='utf-8') as f:
            f.write('#!/bin/sh\nprintf "%s|" "$0" "$@"; exit 7\n')
        os.chmod(path, 0o755)
        shutil.copy(path, os.path.join(folder, 'qwenctl-version'))
        self.env['PATH'] = folder + ':' + self.env['PATH']
        self.check(self.run_ctl('hello', '--unknown', 'a b'), 7, f'{path}|--unknown|a b|'.encode())
        self.check(self.run_ctl('--color=never', 'hello'), 2, b'', 'unknown verb')  # the first word only
        self.assertIn(b'libqwend', self.run_ctl('version').stdout)  # never instead of a verb of our own

    def test_think_takes_a_word_and_refuses_a_budget(self):
        for value, sent in (('on', 'THINKING_ON'), ('off', 'THINKING_OFF'), ('auto', None), (None, 'THINKING_ON')):
            server = self.serve('accept\nawait Generate\nsend Usage+end finish=FINISH_STOP\neof\n')
            self.check(self.run_ctl('ask', '--think' + (f'={value}' if value else ''), 'hi'), 0)
            self.assertEqual(re.findall('THINKING_[A-Z]+', server.log()), [sent] if sent else [])
        self.check(self.run_ctl('ask', '--think=500', 'hi'), 2, b'', 'no budget of reasoning tokens')
        self.check(self.run_ctl('ask', '--think=loud', 'hi'), 2, b'', '--think is on, off or auto, not "loud"')


if __name__ == '__main__':
    unittest.main(argv=[sys.argv[0], *sys.argv[5:]])
