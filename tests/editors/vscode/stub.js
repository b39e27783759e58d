// stub.js - as much of the module `vscode` as the extension uses, with what a test needs to look behind it.
'use strict';
const Module = require('module');

class Position { constructor(line, character) { Object.assign(this, { line, character }); } }
class Range {
    constructor(a, b, c, d) { this.start = new Position(a, b); this.end = new Position(c, d); }
    get isEmpty() { return this.start.line === this.end.line && this.start.character === this.end.character; }
}
class InlineCompletionItem { constructor(insertText, range) { Object.assign(this, { insertText, range }); } }
class WorkspaceEdit {
    constructor() { this.edits = []; }
    replace(uri, range, text) { this.edits.push({ uri, range, text }); }
}

class Emitter {
    constructor() {
        this.handlers = new Set();
        this.event = (handler) => { this.handlers.add(handler); return { dispose: () => this.handlers.delete(handler) }; };
    }
    fire(value) { for (const handler of [...this.handlers]) handler(value); }
}

class Document {
    constructor(path, text) { Object.assign(this, { path, text, version: 1, languageId: 'python' }); }
    get uri() { return { scheme: 'file', toString: () => `file://${this.path}` }; }
    getText() { return this.text; }
    end() {
        const lines = this.text.split('\n');
        return new Position(lines.length - 1, lines[lines.length - 1].length);
    }
}

// configuration: of qwend.*; everything that is said or shown lands in `said` and `output`.
function makeVscode(configuration) {
    const events = { open: new Emitter(), change: new Emitter(), save: new Emitter(), close: new Emitter() };
    const said = [], output = [], edits = [], commands = new Map();
    const say = async (text) => { said.push(text); };
    const stub = {
        Position, Range, InlineCompletionItem, WorkspaceEdit,
        InlineCompletionTriggerKind: { Invoke: 0, Automatic: 1 },
        ProgressLocation: { Notification: 15 },
        workspace: {
            textDocuments: [], workspaceFolders: [{ uri: { toString: () => 'file:///w' } }],
            getConfiguration: () => ({ get: (key) => configuration[key] }),
            onDidOpenTextDocument: events.open.event, onDidChangeTextDocument: events.change.event,
            onDidSaveTextDocument: events.save.event, onDidCloseTextDocument: events.close.event,
            applyEdit: async (edit) => { edits.push(...edit.edits); return true; },
        },
        window: {
            activeTextEditor: undefined, showWarningMessage: say, showInformationMessage: say,
            showInputBox: async () => 'What is 12 + 7?',
            createOutputChannel: () => ({
                show() {}, dispose() {}, append: (text) => output.push(text), appendLine: (text) => output.push(`${text}\n`),
            }),
            withProgress: (_, work) => work({ report() {} }, { onCancellationRequested: (h) => { stub.cancelProgress = h; } }),
        },
        languages: { registerInlineCompletionItemProvider: (_, provider) => { stub.provider = provider; return { dispose() {} }; } },
        commands: { registerCommand: (name, run) => { commands.set(name, run); return { dispose() {} }; } },
        said, output, edits, run: (name) => commands.get(name)(),
        type(document, text) {
            const at = document.end();
            document.text += text;
            document.version++;
            events.change.fire({ document, contentChanges: [{ range: new Range(at.line, at.character, at.line, at.character), text }] });
        },
        open(document) { stub.workspace.textDocuments.push(document); events.open.fire(document); },
        cancellation() { const e = new Emitter(); return { onCancellationRequested: e.event, cancel: () => e.fire() }; },
    };
    return stub;
}

// The extension, loaded anew with this stub in place of `vscode`.
function loadExtension(path, stub) {
    const load = Module._load;
    Module._load = (name, ...rest) => (name === 'vscode' ? stub : load(name, ...rest));
    try {
        delete require.cache[require.resolve(path)];
        return require(path);
    } finally {
        Module._load = load;
    }
}

module.exports = { makeVscode, loadExtension, Document, Range };
