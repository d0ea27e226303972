import { createSync } from 'nango';
import { z } from 'zod';

export default createSync({
    description: 'A test',
    frequency: 'every day',
    autoStart: false,
    models: { Failure: z.object({ id: z.string(), v: z.string().optional() }) },
    exec: async (nango) => {
        await nango.batchSave([{ id: 'kept' }], 'Failure');
        if ((await nango.get<any>({ endpoint: '/fails' })).data.fail) throw new nango.ActionError({ why: 'because' });
    }
});
