import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect } from 'node:net';
import { createInterface } from 'node:readline';

/**
 * Asks a server: `once ADDRESS PORT TIMES` (or `udp`) makes that many connections after each other and prints what each was answered, or the
 * error's code; `hold ADDRESS PORT` makes one and asks by it for each line of its input; `datagrams` likewise from one UDP port.
 */
const [mode = '', address = '', port = '80', times = '1'] = process.argv.slice(2);

async function ask(): Promise<string> {
  const socket = connect({ host: address, port: Number(port) });
  try {
    await once(socket, 'connect');
    socket.write('?\n');
    const [data] = await once(socket, 'data');
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
} else if (mode !== 'hold') {
  for (let count = 0; count < Number(times); count++)
    console.log(await (mode === 'udp' ? askByUdp() : ask()));
} else {
  const socket = connect({ host: address, port: Number(port) });
  socket.on('data', (data) => process.stdout.write(data));
  socket.on('error', (error) => console.log(error.message));
  for await (const line of createInterface({ input: process.stdin })) socket.write(`${line}\n`);
}
