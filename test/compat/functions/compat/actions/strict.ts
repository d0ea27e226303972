import { createAction } from 'nango';
import { z } from 'zod';

const Input = z.object({ keep: z.boolean() });

/** Checks its input before it does anything. */
export default createAction({
    description: 'Checks its input',
    version: '1.0.0',
    input: Input,
    output: z.object({ kept: z.boolean() }),
    exec: async (nango, input) => {
        const checked = await nango.zodValidateInput({ zodSchema: Input, input });
        return { kept: checked.data.keep };
    }
});
