import { createAction } from 'nango';
import { z } from 'zod';

export default createAction({
    description: 'A test',
    input: z.any(),
    output: z.any(),
    exec: async (nango, input) => {
        const first = await nango.tryAcquireLock({ key: 'k', ttlMs: 60000 });
        const again = await nango.tryAcquireLock({ key: 'k', ttlMs: 60000 });
        await nango.get({ endpoint: '/gate' });
        return { first, again };
    }
});
