import { createAction } from 'nango';
import { z } from 'zod';

export default createAction({
    description: 'A test',
    input: z.any(),
    output: z.any(),
    exec: async (nango, input) => {
        const c = await nango.getConnection();
        await nango.log('the key is ' + (c.credentials as any).apiKey);
        const secret = (await nango.getEnvironmentVariables())?.find((v) => v.name === 'TOKEN')?.value;
        await nango.log('the variable is ' + secret);
        return 1;
    }
});
