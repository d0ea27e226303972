import { createSync } from 'nango';
import { z } from 'zod';

export default createSync({
    description: 'A test',
    frequency: 'every day',
    autoStart: false,
    trackDeletes: true,
    models: { Older: z.object({ id: z.string(), v: z.string().optional() }) },
    exec: async (nango) => {
        await nango.batchSave((await nango.get<any>({ endpoint: '/older' })).data, 'Older');
    }
});
