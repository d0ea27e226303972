import { createSync } from 'nango';
import { z } from 'zod';

export default createSync({
    description: 'A test',
    frequency: 'every hour',
    checkpoint: z.object({ page: z.number() }),
    models: { Item: z.object({ id: z.string(), v: z.string().optional() }) },
    exec: async (nango) => {
        await nango.trackDeletesStart('Item');
        let page = ((await nango.getCheckpoint()) as any)?.page ?? 0;
        for (;;) {
            const { items, more } = (await nango.get<any>({ endpoint: '/items', params: { page: String(page), since: nango.lastSyncDate?.toISOString() ?? '' } })).data;
            await nango.batchSave(items, 'Item');
            page++;
            if (!more) break;
            await nango.saveCheckpoint({ page });
        }
        await nango.clearCheckpoint();
        await nango.trackDeletesEnd('Item');
    }
});
