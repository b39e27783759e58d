// extension.test.js - the extension under a stub of VS Code, with the real language server and daemon (story_faces.py).
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const path = require('path');
const { makeVscode, loadExtension, Document, Range } = require('./stub.js');

const EXTENSION = path.join(__dirname, '../../../client/vscode/extension.js');
const AUTOMATIC = { triggerKind: 1 }, INVOKED = { triggerKind: 0 };

async function withExtension(settings, work) {
    const stub = makeVscode({ path: process.env.QWENCTL, socket: process.env.QWEND_SOCKET, completion: true, ignore: [], ...settings });
    const extension = loadExtension(EXTENSION, stub);
    const document = new Document('/w/a.py', 'def sort(n):\n    s');
    stub.workspace.textDocuments.push(document);
    await extension.activate({ subscriptions: [] });
    try {
        await work(stub, document);
    } finally {
        await extension.deactivate();
    }
}

const ghost = (stub, document, context = AUTOMATIC, token = stub.cancellation()) =>
    stub.provider.provideInlineCompletionItems(document, document.end(), context, token);

test('a completion is shown, and typed through', () => withExtension({}, async (stub, document) => {
    const [item] = await ghost(stub, document);
    assert.ok(item.insertText.length > 1);
    assert.deepStrictEqual({ ...item.range.start }, { ...document.end() });
    stub.type(document, item.insertText[0]);
    const [rest] = await ghost(stub, document);
    assert.strictEqual(rest.insertText, item.insertText.slice(1));
}));

test('a newer key supersedes, a cancelled one is nothing', () => withExtension({}, async (stub, document) => {
    const old = ghost(stub, document);
    stub.type(document, 'q');
    const [item] = await ghost(stub, document);
    assert.ok(item.insertText);
    assert.deepStrictEqual(await old, []);
    const token = stub.cancellation();
    stub.type(document, 'r');
    const cancelled = ghost(stub, document, AUTOMATIC, token);
    token.cancel();
    assert.deepStrictEqual(await cancelled, []);
    assert.ok((await ghost(stub, document, INVOKED)).length);
}));

test('the selection is rewritten under its version, explained into the output', () => withExtension({}, async (stub) => {
    const document = new Document('/w/b.txt', 'What is 12 + 7?\n');
    stub.open(document);
    stub.window.activeTextEditor = { document, selection: new Range(0, 0, 0, 15) };
    await stub.run('qwend.rewriteSelection');
    assert.strictEqual(stub.edits.length, 1);
    assert.deepStrictEqual({ ...stub.edits[0].range.end }, { line: 0, character: 15 });
    await stub.run('qwend.explainSelection');
    assert.ok(stub.output.join('').length > 'Explanation:\n\n'.length, stub.output.join(''));
    document.version++; // a change that the server has not heard of
    await stub.run('qwend.rewriteSelection');
    assert.strictEqual(stub.edits.length, 1);
    assert.deepStrictEqual(stub.said, []);
    stub.window.activeTextEditor.selection = new Range(0, 3, 0, 3);
    await stub.run('qwend.fixSelection');
    assert.match(stub.said[0], /nothing is selected/);
}));

test('secrets are left alone, and settings reach the server', () => withExtension({ ignore: ['*.private'] }, async (stub) => {
    for (const name of ['/w/.env', '/w/a.private']) {
        const document = new Document(name, 'x = 1\ny');
        stub.open(document);
        assert.deepStrictEqual(await ghost(stub, document, INVOKED), []);
    }
}));

test('a program that is not there is told of', () => withExtension({ path: '/none/qwenctl' }, async (stub, document) => {
    assert.match(stub.said[0], /ENOENT/);
    assert.deepStrictEqual(await ghost(stub, document), []);
}));

test('the server is started again on demand', () => withExtension({}, async (stub, document) => {
    await stub.run('qwend.restart');
    assert.ok((await ghost(stub, document)).length);
    assert.deepStrictEqual(stub.said, []);
}));
