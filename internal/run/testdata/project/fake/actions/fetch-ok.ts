import { createAction } from 'nango';
import { z } from 'zod';

export default createAction({
    description: 'A test',
    input: z.any(),
    output: z.any(),
    exec: async (nango, input) => {
        const res = await nango.uncontrolledFetch({ url: new URL(input.url) });
        return { status: res.status, body: await res.json() };
    }
});
