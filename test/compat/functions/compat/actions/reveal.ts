import { createAction } from 'nango';
import { z } from 'zod';

/** Tries to get the connection's credentials into the logs in every way that a careless function might. */
export default createAction({
    description: 'Logs credentials',
    version: '1.0.0',
    input: z.void(),
    output: z.object({ logged: z.number() }),
    exec: async (nango) => {
        const connection = await nango.getConnection();
        const credentials = connection.credentials as { access_token: string };
        const token = credentials.access_token;
        await nango.log(`the token is ${token}`);
        await nango.log('the connection', { connection });
        await nango.log(JSON.stringify(JSON.stringify({ token })));
        await nango.log(encodeURIComponent(token), { base64: Buffer.from(`user:${token}`).toString('base64'), hex: Buffer.from(token).toString('hex') });
        console.log('on the console', token);
        await nango.get({ endpoint: '/v1/anything/reveal', params: { access_token: token }, headers: { 'x-copy': token } });
        return { logged: 6 };
    }
});
