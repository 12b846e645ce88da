// What a client may say while the running COPY FROM STDIN takes its data, and what is done with it.
// It knows no connection.

import { ProxyError } from '../lib/errors.js';
import { FRONTEND } from './wire/frontend.js';

/** `last`: it goes to the server too, and nothing more does. `withSync`: an extended batch began the COPY. */
export function copyVerb(type: number, withSync: boolean): 'feed' | 'last' | 'skip' {
  switch (type) {
    case FRONTEND.copyData:
      return 'feed';
    case FRONTEND.copyDone:
    case FRONTEND.copyFail:
      return withSync ? 'feed' : 'last';
    case FRONTEND.flush:
      return 'skip';
    case FRONTEND.sync:
      return withSync ? 'last' : 'skip';
    default:
      throw new ProxyError('protocol-violation', {
        detail: `message "${String.fromCharCode(type)}" during COPY FROM STDIN`,
      });
  }
}
