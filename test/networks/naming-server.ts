import { createSocket } from 'node:dgram';
import { createServer } from 'node:net';

/** Answers every connection and datagram with its name and the peer's address; keeps connections, and answers each line. */
const [name = '', port = '80'] = process.argv.slice(2);
const server = createServer((socket) => {
  socket.on('error', () => socket.destroy());
  socket.on('data', () => socket.write(`${name} ${socket.remoteAddress?.replace('::ffff:', '')}\n`));
});
server.listen(Number(port), '0.0.0.0', () => {
  const udp = createSocket('udp4');
  udp.on('message', (_, from) => udp.send(`${name} ${from.address}\n`, from.port, from.address));
  udp.bind(Number(port), () => console.log('listening'));
});
