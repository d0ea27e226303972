import { createAction } from 'nango';
import { z } from 'zod';

export default createAction({
    description: 'A test',
    input: z.any(),
    output: z.any(),
    exec: async (nango) => {
        return await (nango as any).batchSave([{ id: '1' }], 'Item');
    }
});
