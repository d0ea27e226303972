import { createSync } from 'nango';
import { z } from 'zod';

export default createSync({
    description: 'A test',
    frequency: 'every day',
    autoStart: false,
    models: { Wrong: z.object({ id: z.string(), v: z.string().optional() }) },
    exec: async (nango) => {
        await nango.batchSave([{ id: '1' }], 'Item' as any);
    }
});
