// A WebSocket client of another ecosystem: node client.js SOCKET. It exits with 0 when all that it tries comes out as the
// RFC says. The other side sends back each message, and does what the texts "ping me" and "close me" say.
import assert from "node:assert/strict";
import { once } from "node:events";
import WebSocket from "ws";

const socket = process.argv[2];
const url = (name) => `ws+unix:${socket}:/stream/${name}`;

async function open() {
  const ws = new WebSocket(url("chat"));
  await once(ws, "open");
  return ws;
}

async function echo(ws, data) {
  ws.send(data);
  return await once(ws, "message");
}

async function refused(name, options) {
  const ws = new WebSocket(url(name), options);
  ws.on("error", () => {}); // of the abort below
  const [, response] = await once(ws, "unexpected-response");
  ws.terminate();
  return response;
}

async function messages() {
  const ws = await open();
  assert.equal(ws.protocol, "");
  assert.equal(ws.extensions, "", "nothing is negotiated");

  let [data, isBinary] = await echo(ws, "hello, wörld");
  assert.deepEqual([data.toString(), isBinary], ["hello, wörld", false]);

  const bytes = Buffer.alloc(70_000, "0123456789");
  [data, isBinary] = await echo(ws, bytes);
  assert.ok(data.equals(bytes) && isBinary);
  [data] = await echo(ws, Buffer.alloc(0));
  assert.equal(data.length, 0);

  ws.send("frag", { fin: false });
  ws.send("men", { fin: false });
  ws.ping("between"); // a control frame may come between the fragments
  ws.send("ted", { fin: true });
  const pong = once(ws, "pong");
  [data] = await once(ws, "message");
  assert.equal(data.toString(), "fragmented");
  assert.equal((await pong)[0].toString(), "between");

  const ping = once(ws, "ping");
  [data] = await echo(ws, "ping me"); // sent back when our pong has come
  assert.equal(data.toString(), "ping me");
  await ping;

  ws.close(4001, "bye");
  const [code] = await once(ws, "close");
  assert.equal(code, 4001);
}

async function closedByTheNode() {
  const ws = await open();
  ws.send("close me");
  const [code, reason] = await once(ws, "close");
  assert.deepEqual([code, reason.toString()], [4002, "done"]);
}

async function refusals() {
  assert.equal((await refused("nothing")).statusCode, 404);
  const response = await refused("chat", { protocolVersion: 8 });
  assert.equal(response.statusCode, 426);
  assert.equal(response.headers["sec-websocket-version"], "13");
}

await messages();
await closedByTheNode();
await refusals();
