import { createAction } from 'nango';
import { z } from 'zod';

export default createAction({
    description: 'A test',
    input: z.any(),
    output: z.any(),
    exec: async (nango, input) => {
        const c = await nango.getConnection();
        await nango.updateMetadata({ seen: true });
        return { key: (c.credentials as any).apiKey, metadata: c.metadata, url: (await nango.getIntegration()).unique_key };
    }
});
