import { createSync } from 'nango';
import { z } from 'zod';
import { AcmeContact, Contact, toContact } from '../models.js';

/** Keeps the contacts of an Acme CRM account in the cache. After the first run it only asks for what has changed. */
export default createSync({
    description: 'Fetches the contacts of an Acme CRM account and keeps them up to date',
    version: '1.0.0',
    frequency: 'every hour',
    autoStart: true,
    models: { Contact },
    checkpoint: z.object({ updatedSince: z.string() }),

    exec: async (nango) => {
        const checkpoint = await nango.getCheckpoint();
        let updatedSince = checkpoint?.updatedSince;

        for await (const page of nango.paginate<unknown>({
            endpoint: '/v1/contacts',
            params: updatedSince ? { updated_since: updatedSince } : {},
            paginate: { limit: 50 },
            retries: 3
        })) {
            const contacts = z.array(AcmeContact).parse(page);
            await nango.batchSave(contacts.filter((contact) => !contact.deleted).map(toContact), 'Contact');
            const gone = contacts.filter((contact) => contact.deleted);
            if (gone.length > 0) {
                await nango.batchDelete(gone.map(toContact), 'Contact');
            }
            for (const contact of contacts) {
                if (!updatedSince || contact.updated_at > updatedSince) {
                    updatedSince = contact.updated_at;
                }
            }
        }

        if (updatedSince && updatedSince !== checkpoint?.updatedSince) {
            await nango.saveCheckpoint({ updatedSince });
        }
        await nango.log('contacts are up to date', { updatedSince });
    }
});
