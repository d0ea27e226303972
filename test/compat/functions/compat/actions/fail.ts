import { createAction } from 'nango';
import { z } from 'zod';

/** Fails in the way that it is told. */
export default createAction({
    description: 'Fails',
    version: '1.0.0',
    input: z.object({ how: z.string(), url: z.string().optional(), word: z.string().optional() }),
    output: z.any(),
    exec: async (nango, { how, url }) => {
        switch (how) {
            case 'object':
                throw new nango.ActionError({ type: 'not_found', id: 1 });
            case 'string':
                throw new (nango.ActionError as unknown as new (payload: unknown) => Error)('plain text');
            case 'list':
                throw new (nango.ActionError as unknown as new (payload: unknown) => Error)([1, 2]);
            case 'nothing':
                throw new nango.ActionError();
            case 'error':
                throw new Error('boom');
            case 'type-error':
                return (undefined as unknown as { x: { y: number } }).x.y;
            case 'throw-string':
                throw 'just text';
            case 'throw-null':
                throw null;
            case 'upstream':
                return (await nango.get({ endpoint: '/v1/contacts/no-such' })).data;
            case 'refused':
                return (await nango.get({ endpoint: '/', baseUrlOverride: url })).data;
            case 'large':
                return 'x'.repeat(20 * 1024 * 1024);
            case 'memory': {
                const blocks: string[] = [];
                for (;;) {
                    blocks.push('y'.repeat(16 * 1024 * 1024) + String(blocks.length));
                }
            }
            case 'unawaited':
                void nango.get({ endpoint: '/v1/slow?ms=50' }).then(() => {
                    throw new Error('nobody waits for this');
                });
                return 'done';
            case 'endless':
                for (;;) {
                    // computes until it is stopped
                }
            default:
                return how;
        }
    }
});
