import { createSync } from 'nango';
import { z } from 'zod';

const Broken = z.object({ id: z.string() });

/** Saves one record and then fails. */
export default createSync({
    description: 'Fails half way',
    version: '1.0.0',
    frequency: 'every day',
    autoStart: false,
    models: { Broken },
    exec: async (nango) => {
        await nango.batchSave([{ id: 'kept' }], 'Broken');
        throw new Error('half way');
    }
});
