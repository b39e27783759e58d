// rpc.js - JSON-RPC over a child's stdin and stdout, framed as the language server protocol has it.
//
// No dependency: the client library of VS Code would need one, and a build.  A request is a promise with a cancel(); when the
// child ends, whatever was asked is rejected.
'use strict';
const { spawn } = require('child_process');

const HEAD_END = Buffer.from('\r\n\r\n');

class Rpc {
    constructor(command, args, on) {
        this.on = on; // {notification(method, params), request(method, params), end(why)}
        this.pending = new Map();
        this.lastId = 0;
        this.data = Buffer.alloc(0);
        this.ended = false;
        this.child = spawn(command, args, { stdio: ['pipe', 'pipe', 'ignore'] });
        this.child.on('error', (error) => this.end(error.message));
        this.child.on('exit', (code, signal) => this.end(`ended with ${signal || code}`));
        this.child.stdin.on('error', () => {}); // exit follows
        this.child.stdout.on('data', (chunk) => this.take(chunk));
    }

    end(why) {
        if (this.ended) return;
        this.ended = true;
        for (const { reject } of this.pending.values()) reject(new Error(`qwenctl lsp: ${why}`));
        this.pending.clear();
        this.on.end(why);
    }

    take(chunk) {
        this.data = Buffer.concat([this.data, chunk]);
        for (;;) {
            const end = this.data.indexOf(HEAD_END);
            if (end < 0) return;
            const length = /content-length: *(\d+)/i.exec(this.data.toString('latin1', 0, end));
            if (!length) return this.child.kill();
            const begin = end + HEAD_END.length;
            const next = begin + Number(length[1]);
            if (this.data.length < next) return;
            const message = JSON.parse(this.data.toString('utf8', begin, next));
            this.data = this.data.subarray(next);
            this.handle(message);
        }
    }

    async handle(message) {
        if (message.method === undefined) {
            const waiting = this.pending.get(message.id);
            this.pending.delete(message.id);
            if (!waiting) return;
            if (message.error) waiting.reject(Object.assign(new Error(message.error.message), { code: message.error.code }));
            else waiting.resolve(message.result);
        } else if (message.id === undefined) {
            this.on.notification(message.method, message.params);
        } else {
            this.send({ id: message.id, result: (await this.on.request(message.method, message.params)) ?? null });
        }
    }

    send(message) {
        if (this.ended) return;
        const body = Buffer.from(JSON.stringify({ jsonrpc: '2.0', ...message }));
        this.child.stdin.write(`Content-Length: ${body.length}\r\n\r\n`);
        this.child.stdin.write(body);
    }

    notify(method, params) {
        this.send({ method, params });
    }

    request(method, params) {
        const id = ++this.lastId;
        const promise = new Promise((resolve, reject) => {
            if (this.ended) return reject(new Error('qwenctl lsp does not run'));
            this.pending.set(id, { resolve, reject });
            this.send({ id, method, params });
        });
        promise.cancel = () => this.pending.has(id) && this.notify('$/cancelRequest', { id });
        return promise;
    }
}

module.exports = { Rpc };
