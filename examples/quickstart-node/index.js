import { Nango } from '@nangohq/node';

const nango = new Nango({ host: process.env.PATCHBAY_URL ?? 'http://localhost:3003', secretKey: process.env.PATCHBAY_SECRET_KEY });
const [integration, connection] = ['acme-crm', 'demo-user'];

const { connections } = await nango.listConnections({ integrationId: integration });
console.log('connections:', connections.map((c) => c.connection_id).join(', '));

const me = await nango.get({ providerConfigKey: integration, connectionId: connection, endpoint: '/v1/me' });
console.log('proxied /v1/me:', me.status, JSON.stringify(me.data));

const contact = await nango.triggerAction(integration, connection, 'create-contact', { firstName: 'Ada', lastName: 'Lovelace' });
console.log('created:', contact.id, contact.name);

await nango.triggerSync(integration, ['contacts'], connection);
const find = async () => (await nango.listRecords({ providerConfigKey: integration, connectionId: connection, model: 'Contact', ids: [contact.id] })).records;
while ((await find()).length === 0) await new Promise((resolve) => setTimeout(resolve, 200));
console.log('synced:', contact.name);

let count = 0;
for (let cursor = null, page; page?.next_cursor !== null; cursor = page.next_cursor) {
    page = await nango.listRecords({ providerConfigKey: integration, connectionId: connection, model: 'Contact', limit: 100, cursor });
    count += page.records.length;
}
console.log('records:', count);
