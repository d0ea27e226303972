import { createServer } from 'node:http';
import { Nango } from '@nangohq/node';

// The secret key is only needed to call the API; webhooks are checked with the environment's signing key.
const nango = new Nango({ secretKey: process.env.PATCHBAY_SECRET_KEY ?? 'unused', webhookSigningKey: process.env.PATCHBAY_SIGNING_KEY });
const seen = new Set(); // in a real app: a unique column, written in one transaction with what the event causes

const server = createServer(async (req, res) => {
    let body = '';
    for await (const chunk of req.setEncoding('utf8')) body += chunk;
    if (!nango.verifyIncomingWebhookRequest(body, req.headers)) return res.writeHead(401).end();
    const id = req.headers['patchbay-event-id'];
    if (!seen.has(id)) {
        seen.add(id);
        const event = JSON.parse(body);
        const what = event.type === 'sync' ? `${event.syncName} ${event.model} ${JSON.stringify(event.responseResults)}` : event.operation;
        console.log(event.type, event.connectionId, event.success ? 'ok' : 'failed', what);
    }
    res.writeHead(204).end();
});
server.listen(process.env.PORT ?? 4000, () => console.log(`listening on http://localhost:${server.address().port}`));
