import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect } from 'node:net';
import { createInterface } from 'node:readline';

/**
 * Asks a server: `once ADDRESS PORT TIMES` (or `udp`) makes that many connections after each other and prints what each was answered, or the
 * error's code; `from ADDRESS PORT LOCAL` makes one from that port, and gives up after a second; `hold ADDRESS PORT` makes one and asks by it for each line of its input; `datagrams` likewise from one UDP port.
 */
const [mode = '', address = '', port = '80', number = '1'] = process.argv.slice(2);
const PATIENCE_MS = 1000;

async function ask(o: { localPort?: number; signal?: AbortSignal } = {}): Promise<string> {
  const { signal, ...from } = o;
  const socket = connect({ host: address, port: Number(port), ...from });
  try {
    await once(socket, 'connect', { signal });
    socket.write('?\n');
    const [data] = await once(socket, 'data', { signal });
    return String(data).trim();
  } catch (error) {
    return error instanceof Error && 'code' in error ? String(error.code) : 'failed';
  } finally {
    socket.destroy();
  }
}

async function askByUdp(): Promise<string> {
  const socket = createSocket('udp4');
  try {
    socket.connect(Number(port), address);
    await once(socket, 'connect');
    socket.send('?');
    const [data] = await once(socket, 'message');
    return String(data).trim();
  } catch (error) {
    return error instanceof Error && 'code' in error ? String(error.code) : 'failed';
  } finally {
    socket.close();
  }
}

if (mode === 'datagrams') {
  const socket = createSocket('udp4');
  socket.on('message', (data) => process.stdout.write(data));
  socket.on('error', (error) => console.log(error.message));
  for await (const line of createInterface({ input: process.stdin }))
    socket.send(line, Number(port), address);
} else if (mode === 'from') {
  console.log(await ask({ localPort: Number(number), signal: AbortSignal.timeout(PATIENCE_MS) }));
} else if (mode !== 'hold') {
  for (let count = 0; count < Number(number); count++)
    console.log(await (mode === 'udp' ? askByUdp() : ask()));
} else {
  const socket = connect({ host: address, port: Number(port) });
  socket.on('data', (data) => process.stdout.write(data));
  socket.on('error', (error) => console.log(error.message));
  for await (const line of createInterface({ input: process.stdin })) socket.write(`${line}\n`);
}
