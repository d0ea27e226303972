import { createAction } from 'nango';
import { z } from 'zod';

/** Gives back what it got. */
export default createAction({
    description: 'Gives back its input',
    version: '1.0.0',
    input: z.any(),
    output: z.any(),
    exec: async (nango, input) => input
});
