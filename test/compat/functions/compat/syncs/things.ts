import { createSync } from 'nango';
import { z } from 'zod';

const Thing = z.object({ id: z.string(), name: z.string(), version: z.number() });

/** What a test wants the next run to do. */
const Metadata = z.object({ save: z.number().optional(), version: z.number().optional(), remove: z.array(z.string()).optional() });

/** Saves and deletes what the connection's metadata says. */
export default createSync({
    description: 'Keeps things',
    version: '1.0.0',
    frequency: 'every day',
    autoStart: false,
    models: { Thing },
    metadata: Metadata,
    exec: async (nango) => {
        const wanted = Metadata.parse((await nango.getMetadata()) ?? {});
        const things = Array.from({ length: wanted.save ?? 0 }, (_, i) => ({ id: `t${i}`, name: `thing ${i}`, version: wanted.version ?? 1 }));
        for (let from = 0; from < things.length; from += 100) {
            await nango.batchSave(things.slice(from, from + 100), 'Thing');
        }
        if (wanted.remove && wanted.remove.length > 0) {
            await nango.batchDelete(
                wanted.remove.map((id) => ({ id, name: '', version: 0 })),
                'Thing'
            );
        }
        await nango.log('things are kept', { saved: things.length });
    }
});
