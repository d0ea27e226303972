import { createAction } from 'nango';
import { z } from 'zod';

export default createAction({
    description: 'A test',
    input: z.any(),
    output: z.any(),
    exec: async (nango, input) => {
        return null;
    }
});
