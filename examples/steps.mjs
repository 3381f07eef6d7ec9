#!/usr/bin/env node
// steps.mjs PID: attach to a process, read its registers, let its main thread do three instructions, and leave it.
//
// Node has no packet sockets: `utracectl stdio` stands between, with one message a line.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';

class Client {
  #process = spawn('utracectl', ['stdio'], { stdio: ['pipe', 'pipe', 'inherit'] });
  #lines = createInterface({ input: this.#process.stdout })[Symbol.asyncIterator]();
  #last = 0;
  #events = []; // that came before they were asked for

  constructor() {
    this.started = once(this.#process, 'spawn'); // rejected where there is no utracectl
    this.#process.stdin.on('error', () => {}); // its end is told by stdout as well
  }

  /** Return the messages of one line: a reply, an event, or several events in an array. */
  async #receive() {
    const { value, done } = await this.#lines.next();
    if (done) throw new Error('utraced has closed the connection');
    return [JSON.parse(value)].flat();
  }

  /** Return the result of a request. One is under way at a time, so that any reply is its reply. */
  async call(method, params) {
    this.#process.stdin.write(`${JSON.stringify({ jsonrpc: '2.0', id: ++this.#last, method, params })}\n`);
    for (;;) {
      const messages = await this.#receive();
      const [reply] = messages;
      if (reply.method === 'event') this.#events.push(...messages);
      else if (reply.error) throw new Error(`${reply.error.message}\nhint: ${reply.error.data.hint}`);
      else return reply.result;
    }
  }

  /** Let a thread do one instruction and return where it is held then. */
  async step(engine, tid) {
    await this.call('thread.resume', { engine, tid, action: 'step' });
    for (;;) {
      if (this.#events.length === 0) this.#events.push(...(await this.#receive()));
      const { params } = this.#events.shift();
      if (params.kind === 'step') return params.pc;
      if (params.kind === 'detached') throw new Error('the process has ended');
    }
  }

  close() {
    this.#process.stdin.end();
  }
}

const pid = Number(process.argv[2]);
if (process.argv.length !== 3 || !Number.isInteger(pid)) {
  console.error('usage: steps.mjs PID');
  process.exit(2);
}
const client = new Client();
try {
  await client.started;
  const { version } = await client.call('daemon.hello', { client: 'steps.mjs' });
  console.log(`utraced ${version}`);

  const { engine } = await client.call('engine.attach', { pid, hold: true, events: [] });
  console.log(`engine ${engine} holds process ${pid}`);

  const tid = pid; // the main thread of a process has the process's number
  const { general } = await client.call('registers.read', { engine, tid });
  console.log(`pc ${general.rip}\nsp ${general.rsp}`);

  for (let i = 0; i < 3; i++) console.log(`step ${await client.step(engine, tid)}`);

  await client.call('engine.detach', { engine });
  console.log('detached');
} catch (error) {
  // Texts may hold what a process calls itself, and a terminal would obey.
  console.error(`error: ${error.message.replace(/[^\n\P{C}]/gu, '?')}`);
  process.exitCode = 1;
} finally {
  client.close();
}
