// The file of LOAD DATA LOCAL INFILE on its way from a client to the server connection that asked for it.
// It knows neither command nor session.
// https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_query_response_local_infile_request.html

import type { Socket } from 'node:net';
import type { MysqlServerConnection } from './server-connection.js';
import type { PacketFramer } from './wire/framer.js';

export class LocalFile {
  /** The client sends it; also when nobody wants it any more. */
  isOpen = false;
  /** The server does not keep up: nothing is read from the client. */
  isStuck = false;
  readonly #socket: Socket;
  readonly #framer: PacketFramer;
  /** What the client is told behind it: it does not read before that. Given the sequence id. */
  #answer: ((sequence: number) => Buffer) | null = null;

  constructor(socket: Socket, framer: PacketFramer) {
    this.#socket = socket;
    this.#framer = framer;
  }

  answerBehind(answer: (sequence: number) => Buffer): void {
    this.#answer = answer;
  }

  /** A piece of it, or the empty packet behind it. `isWanted`: the server still asks for it. */
  onPacket(isWanted: boolean): void {
    if (this.#framer.length === 0) this.isOpen = false;
    if (isWanted) this.#framer.pass();
    else this.#framer.drop();
  }

  /** Behind its end: what has been left to be said. */
  takeAnswer(): Buffer | null {
    const answer = this.#answer;
    this.#answer = null;
    return answer === null ? null : answer((this.#framer.sequence + 1) & 0xff);
  }

  /** `goOn`: the client may be read again. */
  flush(server: MysqlServerConnection | null, goOn: () => void): void {
    const bytes = this.#framer.takeRun();
    if (bytes === null || server === null || server.write(bytes)) return;
    this.isStuck = true;
    this.#socket.pause();
    server.whenDrained(() => {
      this.isStuck = false;
      this.#socket.resume();
      goOn();
    });
  }
}
