import { createSync } from 'nango';
import { z } from 'zod';

export default createSync({
    description: 'A test',
    frequency: 'every day',
    autoStart: false,
    models: { Big: z.object({ id: z.string(), v: z.string().optional() }) },
    exec: async (nango) => {
        const { count } = (await nango.get<any>({ endpoint: '/big' })).data;
        const all = Array.from({ length: count }, (_, i) => ({ id: String(i), v: 'value ' + i }));
        await nango.batchSave(all, 'Big');
    }
});
