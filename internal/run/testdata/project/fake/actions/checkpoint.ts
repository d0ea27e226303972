import { createAction } from 'nango';
import { z } from 'zod';

export default createAction({
    description: 'A test',
    input: z.any(),
    output: z.any(),
    exec: async (nango, input) => {
        const before = await nango.getCheckpoint();
        await nango.saveCheckpoint({ n: ((before as any)?.n ?? 0) + 1 });
        return await nango.getCheckpoint();
    }
});
