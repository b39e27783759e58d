// extension.js - qwend in VS Code: a face of `qwenctl lsp`, which holds all the logic.
//
// It keeps the server told of the open documents, hands VS Code's questions for inline completions on, and runs the commands on
// the selection.  Plain JavaScript, as it is installed.
'use strict';
const vscode = require('vscode');
const { Rpc } = require('./rpc.js');

const ALL = [{ scheme: 'file' }, { scheme: 'untitled' }];
const VERBS = ['fix', 'explain', 'document', 'test', 'rewrite'];

let server = null; // {rpc, told}; told: it knows the open documents, and hears of each change
let output = null;
let tokens = 0;
const streams = new Map(); // token: what takes its text

const follows = (document) => ALL.some(({ scheme }) => document.uri.scheme === scheme);
const position = ({ line, character }) => ({ line, character });
const range = ({ start, end }) => ({ start: position(start), end: position(end) });
const toRange = ({ start, end }) => new vscode.Range(start.line, start.character, end.line, end.character);

// ---- the server

function capabilities() {
    return {
        general: { positionEncodings: ['utf-16'] },
        workspace: { applyEdit: true, workspaceEdit: { documentChanges: true } },
        textDocument: { inlineCompletion: {} },
    };
}

// Settles when the documents were told, or when it cannot be.
function start() {
    const config = vscode.workspace.getConfiguration('qwend');
    const socket = config.get('socket');
    const folder = (vscode.workspace.workspaceFolders || [])[0];
    const rpc = new Rpc(config.get('path'), ['lsp', ...(socket ? ['--socket', socket] : [])], {
        notification: onNotification,
        request: onRequest,
        end: (why) => rpc.stopped || vscode.window.showWarningMessage(`qwend: ${config.get('path')} lsp: ${why}`),
    });
    const mine = { rpc, told: false };
    server = mine;
    return rpc.request('initialize', {
        processId: process.pid,
        rootUri: folder ? folder.uri.toString() : null,
        capabilities: capabilities(),
        initializationOptions: { completion: config.get('completion'), ignore: config.get('ignore'), showText: true },
    }).then(() => {
        rpc.notify('initialized', {});
        vscode.workspace.textDocuments.filter(follows).forEach((document) => didOpen(rpc, document));
        mine.told = true;
    }, () => {}); // what went wrong was said at its end
}

async function stop() {
    if (!server) return;
    const { rpc } = server;
    server = null;
    rpc.stopped = true;
    await rpc.request('shutdown').catch(() => {});
    rpc.notify('exit');
}

function onNotification(method, params) {
    if (method === '$/progress' && params.value.text !== undefined && streams.has(params.token))
        streams.get(params.token)(params.value.text);
    else if (method === 'window/showMessage')
        (params.type <= 2 ? vscode.window.showWarningMessage : vscode.window.showInformationMessage)(params.message);
}

async function onRequest(method, params) {
    if (method !== 'workspace/applyEdit') return null;
    const edit = new vscode.WorkspaceEdit();
    for (const { textDocument, edits } of params.edit.documentChanges) {
        const document = vscode.workspace.textDocuments.find((d) => d.uri.toString() === textDocument.uri);
        if (!document || document.version !== textDocument.version) return { applied: false };
        edits.forEach((e) => edit.replace(document.uri, toRange(e.range), e.newText));
    }
    return { applied: await vscode.workspace.applyEdit(edit) };
}

// ---- documents

function didOpen(rpc, document) {
    rpc.notify('textDocument/didOpen', {
        textDocument: {
            uri: document.uri.toString(), languageId: document.languageId, version: document.version,
            text: document.getText(),
        },
    });
}

function tell(document, method, more) {
    if (!server || !server.told || !follows(document)) return;
    server.rpc.notify(method, { textDocument: { uri: document.uri.toString(), version: document.version }, ...more });
}

function watchDocuments(context) {
    context.subscriptions.push(
        vscode.workspace.onDidOpenTextDocument((document) => {
            if (server && server.told && follows(document)) didOpen(server.rpc, document);
        }),
        vscode.workspace.onDidChangeTextDocument(({ document, contentChanges }) => {
            if (contentChanges.length)
                tell(document, 'textDocument/didChange', {
                    contentChanges: contentChanges.map((c) => ({ range: range(c.range), text: c.text })),
                });
        }),
        vscode.workspace.onDidSaveTextDocument((document) => tell(document, 'textDocument/didSave')),
        vscode.workspace.onDidCloseTextDocument((document) => tell(document, 'textDocument/didClose')),
    );
}

// ---- questions

async function provideInline(document, at, context, token) {
    if (!server) return [];
    const asked = server.rpc.request('textDocument/inlineCompletion', {
        textDocument: { uri: document.uri.toString() },
        position: position(at),
        context: { triggerKind: context.triggerKind === vscode.InlineCompletionTriggerKind.Invoke ? 1 : 2 },
    });
    const cancelling = token.onCancellationRequested(() => asked.cancel());
    try {
        const { items } = await asked;
        return items.map((item) => new vscode.InlineCompletionItem(item.insertText, toRange(item.range)));
    } catch {
        return []; // cancelled, or the server has ended, which was told
    } finally {
        cancelling.dispose();
    }
}

function takeStream(title) {
    const token = `qwend-${++tokens}`;
    output.show(true);
    output.appendLine(`${title}:`);
    streams.set(token, (text) => output.append(text));
    return token;
}

async function run(verb) {
    const editor = vscode.window.activeTextEditor;
    if (!editor || editor.selection.isEmpty) {
        vscode.window.showInformationMessage('qwend: nothing is selected');
        return;
    }
    const instruction = verb === 'rewrite' ? await vscode.window.showInputBox({ prompt: 'How?' }) : undefined;
    if (!server || (verb === 'rewrite' && !instruction)) return;
    const token = verb === 'explain' ? takeStream('Explanation') : undefined;
    const asked = server.rpc.request('workspace/executeCommand', {
        command: `qwend.${verb}`,
        arguments: [{ uri: editor.document.uri.toString(), range: range(editor.selection), instruction }],
        partialResultToken: token,
    });
    const progress = { location: vscode.ProgressLocation.Notification, title: `qwend: ${verb}`, cancellable: true };
    await vscode.window.withProgress(progress, async (_, cancel) => {
        cancel.onCancellationRequested(() => asked.cancel());
        await asked.catch((error) => vscode.window.showWarningMessage(`qwend: ${error.message}`));
    });
    if (token) output.appendLine('\n');
    streams.delete(token);
}

async function restart() {
    await stop();
    await start();
}

async function activate(context) {
    output = vscode.window.createOutputChannel('qwend');
    watchDocuments(context);
    context.subscriptions.push(
        output,
        vscode.languages.registerInlineCompletionItemProvider(ALL, { provideInlineCompletionItems: provideInline }),
        vscode.commands.registerCommand('qwend.restart', restart),
        ...VERBS.map((verb) => vscode.commands.registerCommand(`qwend.${verb}Selection`, () => run(verb))),
    );
    await start();
}

module.exports = { activate, deactivate: stop };
