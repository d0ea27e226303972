import { createAction } from 'nango';
import { z } from 'zod';

export default createAction({
    description: 'A test',
    input: z.any(),
    output: z.any(),
    exec: async (nango, input) => {
        const all: string[] = [];
        for (;;) all.push('x'.repeat(1e6) + all.length);
    }
});
